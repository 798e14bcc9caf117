"""Flips that are played back: checked like anybody's file, verified, labelled, and never the only thing tried."""

from __future__ import annotations

import io
import json
import os
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import auditor
from auditor.data.edits import EdgeSpace
from auditor.errors import UsageError
from auditor.outcomes import FlipSet
from auditor.perturbations import Perturbations, VerifiedEdit, read_flips, to_npz
from auditor.targets.target import Target
from tests.evaluate.robustness import cells
from tests.evaluate.robustness.probing import evaluated
from tests.toys import toy_target

WEAK = "cycles=1,rounds=0,losses=tanh"


@pytest.fixture(scope="module")
def target() -> Target:
    return toy_target()


@pytest.fixture(scope="module")
def saved(target: Target, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, float]:
    """The file of a whole search, and the accuracy that it leaves."""
    out = tmp_path_factory.mktemp("found")
    report = auditor.audit(target, only="structure-evasion", profile="quick", seeds=[0], save_flips=True, out=out)
    (cell,) = report.cells
    return out / cell.params["perturbations"]["file"], left_by(report)


def left_by(report: auditor.Report) -> float:
    return next(r.estimate.value for r in report.document.results if r.metric == "robust_accuracy")


def audited(target: Target, replay: str, **more: Any) -> auditor.Report:
    only = f"structure-evasion:replay={replay},{WEAK}" if replay else f"structure-evasion:{WEAK}"
    return auditor.audit(target, only=only, profile="quick", seeds=[0], **more)


def test_flips_that_are_played_back_join_the_envelope_and_are_labelled(
    target: Target, saved: tuple[Path, float]
) -> None:
    file, left = saved
    alone, joined = audited(target, ""), audited(target, str(file))
    assert left < left_by(alone), "the search that stands beside them is weaker, or this shows nothing"
    assert left_by(joined) == left
    row = next(r for r in joined.document.results if r.metric == "robust_accuracy")
    assert row.facts.winner.startswith(f"transferred, optimistic ({file.stem[:12]} ")
    (cell,) = joined.cells
    assert cell.params["replay"][file.name]["beyond_every_budget"] == 0
    assert row.controls[0].estimate == next(
        r.controls[0].estimate for r in alone.document.results if r.metric == "robust_accuracy"
    ), "nothing else is drawn otherwise"


def test_several_files_may_be_named_and_twice_is_the_same(
    target: Target, saved: tuple[Path, float], tmp_path: Path
) -> None:
    file, left = saved
    second = tmp_path / "second.npz"
    second.write_bytes(file.read_bytes())
    both = f"{file}{os.pathsep}{second}"
    runs = [audited(target, both, save_flips=True, out=tmp_path / name) for name in ("one", "two")]
    assert [left_by(run) for run in runs] == [left, left]
    assert set(runs[0].cells[0].params["replay"]) == {file.name, second.name}
    written = [
        tmp_path / name / run.cells[0].params["perturbations"]["file"]
        for name, run in zip(("one", "two"), runs, strict=True)
    ]
    assert written[0].read_bytes() == written[1].read_bytes()
    assert runs[0].document.results == runs[1].document.results


def test_another_content_under_the_same_name_is_another_question(
    target: Target, saved: tuple[Path, float], tmp_path: Path
) -> None:
    file, keys = tmp_path / "flips.npz", []
    for raw in (saved[0].read_bytes(), edited(saved[0], lambda arrays: arrays)):
        file.write_bytes(raw)
        keys.append(auditor.check(target, only=f"structure-evasion:replay={file}", seeds=[0]).cells[0].key)
    assert keys[0] != keys[1]


def edited(file: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> bytes:
    """The file with other arrays, packed by numpy."""
    with np.load(file) as archive:
        arrays = change(dict(archive))
    raw = io.BytesIO()
    np.savez(raw, **arrays)
    return raw.getvalue()


def with_header(**fields: Any) -> Callable[[dict[str, Any]], dict[str, Any]]:
    def change(arrays: dict[str, Any]) -> dict[str, Any]:
        header = {**json.loads(arrays["header"].tobytes()), **fields}
        return {**arrays, "header": np.frombuffer(json.dumps(header).encode(), np.uint8)}

    return change


def with_keys(make: Callable[[Any], Any]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda arrays: {**arrays, "keys_0": make(arrays["keys_0"])}


def without(name: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda arrays: {key: value for key, value in arrays.items() if key != name}


BAD = {
    "another graph": (with_header(graph="0" * 64), "edits another graph"),
    "arcs": (with_header(directed=True), "edits another graph"),
    "a later form": (with_header(form=2), "is of form 2"),
    "no header": (without("header"), "has no header"),
    "a broken header": (lambda a: {**a, "header": a["header"][:-4]}, "header cannot be understood"),
    "no points": (with_header(points=[]), "holds no flips"),
    "no keys": (without("keys_0"), "has no keys_0"),
    "twice": (with_keys(lambda keys: np.concatenate([keys, keys[:1]])), "twice"),
    "negative": (with_keys(lambda keys: -1 - keys), r"expected \[0"),
    "out of range": (with_keys(lambda keys: keys + 10**9), r"expected \[0"),
    "a loop": (with_keys(lambda keys: np.zeros(1, np.int64)), "two different nodes"),
    "int32": (with_keys(lambda keys: keys.astype(np.int32)), "int32"),
    "floats": (with_keys(lambda keys: keys.astype(float)), "float64"),
    "a table": (with_keys(lambda keys: keys[None]), r"expected int64 \[k\]"),
    "objects": (with_keys(lambda keys: keys.astype(object)), "object"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_file_that_does_not_fit_ends_the_run_before_any_cell(
    target: Target, saved: tuple[Path, float], tmp_path: Path, name: str
) -> None:
    change, said = BAD[name]
    file = tmp_path / "flips.npz"
    file.write_bytes(edited(saved[0], change))
    with pytest.raises(UsageError, match=said) as refusal:
        audited(target, str(file), out=tmp_path / "out")
    assert refusal.value.exit_code == 2
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04", b"no archive"])
def test_what_is_no_archive_is_refused(target: Target, tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "flips.npz"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UsageError, match=r"flips\.npz"):
        audited(target, str(file))


def flips_file(path: Path, target: Target, keys: torch.Tensor) -> Path:
    edit = VerifiedEdit("mine", "", FlipSet(keys.numel(), keys), 0.5)
    path.write_bytes(to_npz(Perturbations(target.graph, (edit,)), probe="structure-evasion", seed=0))
    return path


def test_a_set_beyond_every_budget_is_left_out_and_counted(target: Target, tmp_path: Path) -> None:
    file = flips_file(tmp_path / "many.npz", target, EdgeSpace.of(target.graph).existing)
    result = evaluated("structure-evasion", target, attacks=cells.shipped(), replay=str(file))
    assert result.params["replay"]["many.npz"]["beyond_every_budget"] == 1
    assert not any("transferred" in name for name in cells.facts(result).attempts)
    (row,) = [row for row in result.validity if row.id == "replayed"]
    assert row.status == "warn"
    assert "many.npz" in row.evidence

    few = flips_file(tmp_path / "few.npz", target, EdgeSpace.of(target.graph).existing[:1])
    played = evaluated("structure-evasion", target, attacks=cells.shipped(), replay=str(few))
    assert not any(row.id == "replayed" for row in played.validity)


def test_a_set_that_breaks_the_cap_of_a_node_alone_is_not_called_too_large(target: Target, tmp_path: Path) -> None:
    file = flips_file(tmp_path / "few.npz", target, EdgeSpace.of(target.graph).existing[:1])
    result = evaluated(
        "structure-evasion", target, attacks=cells.shipped(), replay=str(file), local_cap="0.01", eps="0.01"
    )
    (row,) = [row for row in result.validity if row.id == "replayed"]
    assert "budgets and caps" in row.evidence
    assert row.evidence.endswith("larger eps, or local-cap")


def test_flips_are_never_judged_without_a_search(target: Target, tmp_path: Path) -> None:
    file = flips_file(tmp_path / "few.npz", target, EdgeSpace.of(target.graph).existing[:1])
    blind = replace(target, capabilities=target.capabilities - {"GRAD_EDGE"})
    report = audited(blind, str(file))
    assert report.document.results == ()
    assert [cell.status for cell in report.cells] == ["skipped"]


def test_of_many_graphs_those_that_are_attacked_are_played_back(tmp_path: Path) -> None:
    target = toy_target("graph-gin")
    space = EdgeSpace.of(target.graph)
    batch = target.graph.batch
    assert batch is not None
    owner = batch[space.ends(space.existing)[0]]
    first = torch.stack([space.existing[owner == g][0] for g in torch.unique(owner)])  # one edge of every graph
    result = evaluated(
        "structure-evasion", target, eps="one", graphs="3", replay=str(flips_file(tmp_path / "each.npz", target, first))
    )
    facts = cells.facts(result, "flips=1")
    assert any(name.startswith("transferred, optimistic") for name in facts.attempts)
    assert result.params["replay"]["each.npz"]["beyond_every_budget"] == 0


def test_read_flips_gives_what_was_written(target: Target, tmp_path: Path) -> None:
    space = EdgeSpace.of(target.graph)
    keys = space.existing[:7]
    (found,) = read_flips(flips_file(tmp_path / "kept.npz", target, keys), space)
    assert torch.equal(found.keys, keys)
    with zipfile.ZipFile(tmp_path / "kept.npz") as archive:
        assert sorted(archive.namelist()) == ["header.npy", "keys_0.npy"]
