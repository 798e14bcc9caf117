"""`auditor split`: exit codes, the document on standard output, targets, and input that cannot be checked."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch_geometric.data import Data, HeteroData, TemporalData

from auditor.split_report import SplitReport
from tests.cli.program import inside
from tests.data import splits_with_faults as made


def saved(folder: Path, data: Any) -> Path:
    torch.save(data, folder / "data.pt")
    return folder / "data.pt"


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("target") / "demo-gcn"
    words = ("--data", "demo", "--arch", "gcn", "--hidden", "8", "--epochs", "5")
    assert inside("train", *words, "-o", folder, cwd=folder.parent).returncode == 0
    return folder


def test_a_clean_split_exits_0_and_says_what_that_does_not_show(tmp_path: Path) -> None:
    done = inside("split", saved(tmp_path, made.links(0)), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "data: CLEAN. No exact copy of test data was visible in training."
    assert "no leak" not in done.stdout.lower()
    assert done.stdout.isascii()


def test_a_leak_exits_1_and_names_items_and_the_fix(tmp_path: Path) -> None:
    done = inside("split", saved(tmp_path, made.whole_graph_given(0)), cwd=tmp_path)
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    found = next(line for line in lines if line.startswith("LEAK: link in messages (test), severity high: 118 of 118"))
    assert "(" in found.partition("scored on: ")[2]
    assert any(line.startswith("Fix: Take the pairs to be predicted out") for line in lines)
    assert lines[-1] == "LEAKS  1 check of 12 found a leak. Exit code 1."


def test_what_nobody_says_is_undecided(tmp_path: Path) -> None:
    data = made.nodes(0)
    del data.train_mask, data.test_mask
    done = inside("split", saved(tmp_path, data), cwd=tmp_path)
    assert done.returncode == 3
    assert "UNDECIDED" in done.stdout
    assert "Fix: Name them" in done.stdout


def test_json_is_the_report(tmp_path: Path) -> None:
    done = inside("split", saved(tmp_path, made.nodes(0, copies=10)), "--json", cwd=tmp_path)
    assert done.returncode == 1
    report = SplitReport.model_validate_json(done.stdout)
    assert report.model_dump(mode="json") == json.loads(done.stdout)
    (leak,) = report.leaks
    assert (leak.id, leak.found, leak.severity) == ("row-duplicate", 10, "medium")
    assert leak.expected is not None
    assert leak.expected.n == 200


def test_two_runs_say_the_same(tmp_path: Path) -> None:
    path = saved(tmp_path, made.nodes(1, copies=3))
    assert len({inside("split", path, "--json", cwd=tmp_path).stdout for _ in range(2)}) == 1


def test_a_target_is_checked_without_its_model(target: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    folder.mkdir()
    for file in target.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "model.safetensors").write_bytes(b"no model")
    done = inside("split", folder, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("demo-gcn: CLEAN")
    named = inside("split", "demo", "--split", "per-class:20", cwd=tmp_path)
    assert "row duplicate" in named.stdout


def test_check_has_the_same_row(target: Path, tmp_path: Path) -> None:
    """The same random splits: what `split` says of a target is what its audit says."""
    said = inside("split", target, cwd=tmp_path).stdout
    (line,) = [line for line in said.splitlines() if "row duplicate" in line]
    shown = " ".join(inside("check", target, "--verbose", cwd=tmp_path).stdout.replace("|", " ").split())
    assert "row-duplicate" in shown
    assert line.partition("; in ")[2].rstrip(".")[:40] in shown


def test_against_a_target_its_train_items_are_what_is_looked_for(target: Path, tmp_path: Path) -> None:
    own = inside("split", target, "--against", target, cwd=tmp_path)
    assert own.returncode == 0, own.stdout
    assert "item overlap: 0 of" in own.stdout
    assert "are among the 80 of train" in own.stdout
    other = inside("split", "demo", "--split", "random:0.1/0.1/0.8", "--seed", "5", "--against", target, cwd=tmp_path)
    assert other.returncode == 1
    assert "LEAK: item overlap, severity high" in other.stdout
    assert "train of demo-gcn" in other.stdout


def test_any_order_makes_a_note_of_an_overlap_in_time(tmp_path: Path) -> None:
    path = saved(tmp_path, made.stream(0, cut="random"))
    assert inside("split", path, cwd=tmp_path).returncode == 1
    done = inside("split", path, "--any-order", cwd=tmp_path)
    assert "nothing says that train was meant to lie before test" in done.stdout
    assert "LEAK" not in done.stdout


def nodes_in_time() -> Data:
    data = made.nodes(0)
    data.node_time = torch.arange(data.num_nodes)
    return data


def test_nodes_with_times_are_checked_where_it_is_said(tmp_path: Path) -> None:
    path = saved(tmp_path, nodes_in_time())
    assert inside("split", path, cwd=tmp_path).returncode == 0
    done = inside("split", path, "--chronological", cwd=tmp_path)
    assert done.returncode == 1
    assert "LEAK: future edge" in done.stdout


def test_one_stream_with_masks(tmp_path: Path) -> None:
    t = torch.arange(100)
    data = TemporalData(src=t % 7, dst=t % 5, t=t, train_mask=t < 60, test_mask=t >= 55)
    overlap = inside("split", saved(tmp_path, data), cwd=tmp_path)
    assert overlap.returncode == 2
    assert "5 items are in both train and test" in overlap.stderr
    data.test_mask = t >= 60
    assert inside("split", saved(tmp_path, data), cwd=tmp_path).returncode == 0


def typed_nodes(*, copies: int) -> HeteroData:
    data, ids = HeteroData(), torch.arange(100)
    torch.manual_seed(0)
    data["paper"].x, data["paper"].y = torch.rand(100, 4), ids % 3
    data["paper"].train_mask, data["paper"].test_mask = ids < 50, ids >= 60
    data["paper"].x[60 : 60 + copies] = data["paper"].x[:copies]
    data["author"].num_nodes = 20
    data["author", "writes", "paper"].edge_index = torch.stack([ids[:20], ids[:20]])
    return data


@pytest.mark.parametrize(("copies", "code"), [(0, 0), (20, 1)])
def test_typed_nodes_are_checked_by_type(copies: int, code: int, tmp_path: Path) -> None:
    done = inside("split", saved(tmp_path, typed_nodes(copies=copies)), cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert "row duplicate (paper)" in done.stdout


class Exploit:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path("SENTINEL"),)  # type: ignore[return-value]


def pair_beyond() -> list[Data]:
    parts = made.links(0)
    parts[2].edge_label_index[0, 0] = 10**6
    return parts


def labels_short() -> list[Data]:
    parts = made.links(0)
    parts[2].edge_label = parts[2].edge_label[:-3]
    return parts


def masks_overlap() -> Data:
    data = made.nodes(0)
    data.test_mask = data.test_mask | data.train_mask
    return data


BAD = {
    "pair beyond the nodes": (pair_beyond, (), 2, "holds the pair (1000000, "),
    "labels of another length": (labels_short, (), 2, "edge_label is [233] for 236 pairs"),
    "masks that overlap": (masks_overlap, (), 2, "100 items are in both train and test"),
    "code in the file": (lambda: [Exploit(), Exploit()], (), 4, "could run code on loading"),
    "a split of a split": (lambda: made.links(0), ("--split", "public"), 2, "holds its parts itself"),
    "no such split": (lambda: made.nodes(0), ("--split", "masks:3"), 2, "1 set of masks"),
    "a target of another level": (lambda: made.links(0), ("--against", "nowhere"), 2, "holds its parts itself"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_refused_with_its_code(name: str, tmp_path: Path) -> None:
    make, words, code, said = BAD[name]
    done = inside("split", saved(tmp_path, make()), *words, cwd=tmp_path)
    assert done.returncode == code
    assert said in done.stderr
    assert done.stdout == ""
    assert not (tmp_path / "SENTINEL").exists()


def test_a_name_that_nothing_has_offers_the_nearest(tmp_path: Path) -> None:
    done = inside("split", "corra", cwd=tmp_path)
    assert done.returncode == 2
    assert 'Did you mean "cora"?' in done.stderr


def test_arrays_of_events_are_a_stream(tmp_path: Path) -> None:
    t = np.arange(50)
    np.savez(tmp_path / "s.npz", src=t % 5, dst=t % 3, t=t, train_mask=t < 30, test_mask=t >= 30)
    assert inside("split", tmp_path / "s.npz", cwd=tmp_path).returncode == 0
