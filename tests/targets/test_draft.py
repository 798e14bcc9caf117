"""`auditor init`: what is written, marked as a guess, asked or left open; nothing runs that nobody named."""

from __future__ import annotations

import pickle
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torch_geometric.data import Data
from torch_geometric.nn import GCN

from auditor.errors import AuditorError, ConfigError, LoadError, RefusedError, UsageError
from auditor.targets.config import QUESTIONS, read_target_file
from auditor.targets.draft import Draft, Known, draft_target
from auditor.targets.load import load_target
from tests.cli.program import inside
from tests.toys import random_split, sbm_graph

MODEL = """
    from pathlib import Path
    from torch_geometric.nn import GCN
    (Path(__file__).parent / "ran").touch()

    def build():
        return GCN(24, 8, 2, 3)

    class Net(GCN):
        def __init__(self, in_channels, hidden, *, num_classes, dropout=0.5):
            super().__init__(in_channels, hidden, 2, num_classes, dropout=dropout)
"""
WEIGHTED = """
    from torch import nn
    from torch_geometric.nn import GCNConv

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a = GCNConv(24, 3)
        def forward(self, x, edge_index, edge_weight=None):
            return self.a(x, edge_index, edge_weight)
"""


class Folder:
    """Weights, graph, split and code as a user would have them."""

    def __init__(self, place: Path, *, masks: int | None = None, model: nn.Module | None = None, **fields: Any) -> None:
        graph, split = sbm_graph(), random_split(120)
        self.place, self.model = place, model or GCN(24, 8, 2, 3)
        torch.save(self.model.state_dict(), place / "checkpoint.ckpt")
        parts = {"train_mask": split.train, "val_mask": split.val, "test_mask": split.test}
        if masks is not None:
            fields |= {k: m if masks == 1 else m[:, None].repeat(1, masks) for k, m in parts.items()}
        data = Data(x=graph.x, edge_index=graph.edge_index, y=graph.y, **fields)
        torch.save(data, place / "graph.pt")
        np.savez(place / "split.npz", **{key: mask.numpy() for key, mask in parts.items()})
        (place / "model.py").write_text(textwrap.dedent(MODEL))
        self.known: dict[str, Any] = {
            "graph": str(place / "graph.pt"),
            "factory": f"{place / 'model.py'}:build",
            "split": f"file:{place / 'split.npz'}",
        }

    def draft(self, weights: str = "checkpoint.ckpt", out: str = "out/mine", **given: Any) -> Draft:
        names = {name for name in given if name in Known.__dataclass_fields__}
        known = Known(**(self.known | {name: given.pop(name) for name in names}))
        return draft_target(self.place / weights, self.place / out, known, **given)


def test_the_command_drafts_what_check_then_takes(tmp_path: Path) -> None:
    Folder(tmp_path)
    words = ("--graph", "graph.pt", "--factory", "model.py:build", "--split", "file:split.npz", "--yes")
    done = inside("init", "checkpoint.ckpt", *words, "-o", "out/mine", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("call: forward(x, edge_index); nothing shows")
    assert 'Next: "auditor check out/mine"' in done.stderr.replace("\n", " ")
    checked = inside("check", "out/mine", cwd=tmp_path)
    assert checked.returncode == 0, checked.stderr
    assert "forward(x, edge_index" in checked.stdout
    text = (tmp_path / "out" / "mine" / "target.toml").read_text()
    assert "GUESS (" not in text
    assert "unanswered" not in text


def test_a_drafted_target_is_the_model(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    draft = folder.draft(claimed_accuracy=None, recipe={"epochs": 3})
    target = load_target(draft.path.parent)
    graph = sbm_graph()
    with torch.no_grad():
        expected = folder.model.eval()(graph.x, graph.edge_index)
    assert torch.equal(target.clean_logits(), expected)
    assert target.split.sizes == (36, 24, 60)
    assert target.recipe is not None
    assert draft.accuracy == pytest.approx(target.accuracy())
    assert draft.call.startswith("forward(x")


def test_without_an_answer_questions_stay_open_and_refuse_a_run(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    (tmp_path / "model.py").rename(tmp_path / "nets.txt")
    draft = folder.draft(graph=None, factory=None, split=None)
    assert draft.unanswered == ("graph", "factory", "split")
    assert draft.call == ""
    file = read_target_file(draft.path)
    assert file.unanswered == ["graph", "factory", "split"]
    for verb in ("run", "check"):
        done = inside(verb, "out/mine", cwd=tmp_path)
        assert done.returncode == 2
        for question in draft.unanswered:
            assert QUESTIONS[question] in done.stderr
    assert not (tmp_path / "ran").exists()


def test_a_guess_is_marked_and_its_code_is_not_run(tmp_path: Path) -> None:
    folder = Folder(tmp_path, masks=1)
    draft = folder.draft(factory=None, split=None)
    assert draft.unanswered == ()
    text = draft.path.read_text()
    assert 'factory = "../../model.py:build"  # GUESS (named like a builder, beside the weights); alternatives:' in text
    assert not (tmp_path / "ran").exists()
    ran = folder.draft(factory=None, split=None, run_guesses=True, force=True)
    assert (tmp_path / "ran").exists()
    assert "forward(" in ran.call
    assert load_target(ran.path.parent).split.sizes == (36, 24, 60)


def test_arguments_of_a_class_are_guessed_from_the_files(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    factory = f"{tmp_path / 'model.py'}:Net"
    draft = folder.draft(factory=factory)
    text = draft.path.read_text()
    assert "in_channels = 24  # GUESS (columns of x)" in text
    assert "num_classes = 3  # GUESS (largest label + 1)" in text
    assert "# hidden = ?" in text
    assert draft.unanswered == ("init",)
    weights = {"state_dict": folder.model.state_dict(), "hyper_parameters": {"hidden": 8, "lr": 0.1}, "epoch": 3}
    torch.save(weights, tmp_path / "lightning.ckpt")
    # Reading a nested checkpoint is the loader's affair; what is drafted of it is looked at without running it.
    draft = folder.draft("lightning.ckpt", graph=None, factory=factory, out="two")
    text = draft.path.read_text()
    assert 'weights_key = "state_dict"  # GUESS (the only state dict in the file)' in text
    assert "hidden = 8  # GUESS (hyper_parameters of the checkpoint)" in text


def test_several_state_dicts_are_listed(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    state = folder.model.state_dict()
    torch.save({"memory": state, "gnn": {"inner": state}, "step": 4}, tmp_path / "three.pt")
    draft = folder.draft("three.pt")
    assert draft.unanswered == ("weights_key",)
    assert "# the file holds memory, gnn.inner" in draft.path.read_text()
    with pytest.raises(LoadError, match='no state dict under "gun"'):
        folder.draft("three.pt", weights_key="gun", force=True)


def test_what_the_rules_cannot_decide_is_left_open_or_asked(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    torch.manual_seed(0)
    scope: dict[str, Any] = {}
    exec(textwrap.dedent(WEIGHTED), scope)
    edges = sbm_graph().num_edges
    folder = Folder(tmp_path, model=scope["Net"](), edge_attr=torch.rand(edges) * 9)
    (tmp_path / "model.py").write_text(textwrap.dedent(WEIGHTED))
    factory = f"{tmp_path / 'model.py'}:Net"
    draft = folder.draft(factory=factory)
    assert draft.unanswered == ("call",)
    assert "edge_attr [E] may be edge_weight" in draft.path.read_text()
    told = folder.draft(factory=factory, call={"edge_weight": "edge_attr"}, out="told")
    assert told.unanswered == ()
    assert "edge_weight=edge_attr" in told.call or "edge_weight" in told.call
    asked: list[str] = []

    def ask(question: str, flag: str, guess: str) -> str:
        asked.append(flag)
        return {"--call": "edge_weight=none", "--claimed-accuracy": "", "--recipe": "epochs=7"}[flag]

    answered = folder.draft(factory=factory, ask=ask, out="asked")
    assert answered.unanswered == ()
    assert asked == ["--call", "--claimed-accuracy", "--recipe"]
    file = read_target_file(answered.path)
    assert file.call == {"edge_weight": "none"}
    assert file.target.train is not None
    assert file.target.train.epochs == 7


def test_at_most_six_questions_each_with_its_flag(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    answers: Mapping[str, str] = {
        "--factory": f"{tmp_path / 'model.py'}:build",
        "--split": f"file:{tmp_path / 'split.npz'}",
        "--claimed-accuracy": "",
        "--recipe": "",
    }
    asked: list[tuple[str, str, str]] = []

    def ask(question: str, flag: str, guess: str) -> str:
        asked.append((question, flag, guess))
        return answers[flag]

    draft = folder.draft(factory=None, split=None, ask=ask)
    assert [flag for _, flag, _ in asked] == list(answers)
    assert f"{draft.accuracy:.3f} is measured on the test items; is that the number you know?" in asked[2][0]
    assert draft.unanswered == ()
    silent = folder.draft(factory=None, split=None, ask=lambda *_: "", out="silent")
    assert silent.unanswered == ("split",)


def test_the_graph_s_columns_of_masks_are_offered(tmp_path: Path) -> None:
    folder = Folder(tmp_path, masks=4)
    draft = folder.draft(split=None)
    assert draft.unanswered == ("split",)
    assert "the graph holds 4 splits: masks:0 to masks:3" in draft.path.read_text()


def test_safetensors_and_default_folder(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    save_file(folder.model.state_dict(), tmp_path / "model.safetensors")
    draft = folder.draft("model.safetensors", out=".", split="unknown")
    assert draft.path == tmp_path / "target.toml"
    assert not load_target(tmp_path).split.is_known


BAD: Mapping[str, tuple[dict[str, Any], type[AuditorError], str]] = {
    "no weights": ({"weights": "none.pt"}, LoadError, "does not exist"),
    "a pickle": ({"weights": "bare.pkl"}, RefusedError, "a bare pickle"),
    "a module": ({"weights": "module.pt"}, RefusedError, "Net"),
    "no tensors": ({"weights": "empty.pt"}, LoadError, "holds no state dict"),
    "no graph": ({"graph": "nowhere.pt"}, UsageError, "nowhere.pt"),
    "no factory file": ({"factory": "nowhere.py:build"}, UsageError, "does not exist"),
    "no function": ({"factory": "model.py:biuld"}, LoadError, "build"),
    "no colon": ({"factory": "model.py"}, UsageError, "expected"),
    "no split": ({"split": "file:nowhere.npz"}, UsageError, "no such file"),
    "split form": ({"split": "publik"}, ConfigError, "public"),
    "claim": ({"claimed_accuracy": 81.5}, ConfigError, "less than or equal to 1"),
    "recipe": ({"recipe": {"epoch": 3}}, ConfigError, "epoch"),
    "call": ({"call": {"edge_wait": "none"}}, ConfigError, "edge_wait"),
    "does not fit": ({"weights": "other.pt"}, LoadError, "does not fit"),
    "folder": ({"out": "split.npz/x"}, UsageError, "cannot write"),
}


@pytest.mark.parametrize("id_", BAD)
def test_bad_input_is_refused_and_nothing_is_written(id_: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed, kind, words = BAD[id_]
    folder = Folder(tmp_path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bare.pkl").write_bytes(pickle.dumps({"a": 1}, protocol=2))
    torch.save(folder.model, tmp_path / "module.pt")
    torch.save({"epoch": 3}, tmp_path / "empty.pt")
    torch.save(GCN(24, 9, 2, 3).state_dict(), tmp_path / "other.pt")
    before = {path for path in tmp_path.rglob("*") if "__pycache__" not in path.parts}
    with pytest.raises(kind, match=words if id_ != "a module" else "GCN|pickled"):
        folder.draft(**changed)
    after = {path for path in tmp_path.rglob("*") if "__pycache__" not in path.parts and path.name != "ran"}
    assert after == before


def test_a_file_that_is_there_is_kept_without_force(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    first = folder.draft()
    before = first.path.read_text()
    words = ("--graph", "graph.pt", "--factory", "model.py:build", "--split", "unknown", "-o", "out/mine")
    assert inside("init", "checkpoint.ckpt", *words, cwd=tmp_path).returncode == 2
    assert first.path.read_text() == before
    assert inside("init", "checkpoint.ckpt", *words, "--force", cwd=tmp_path).returncode == 0
    assert 'split = "unknown"' in first.path.read_text()


def test_names_from_a_file_cannot_write_lines_of_their_own(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    evil = 'a\n[target]\nfactory = "evil.py:run"\n#'
    torch.save({evil: folder.model.state_dict(), "b": folder.model.state_dict()}, tmp_path / "evil.pt")
    draft = folder.draft("evil.pt")
    assert read_target_file(draft.path).target.factory == "../../model.py:build"
