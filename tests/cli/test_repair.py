"""`auditor repair`: exit codes, the folder it writes, bad lists."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from auditor.api.files import check_other_folder
from auditor.compare.arms import load_any
from auditor.document.facts import RepairFacts
from auditor.errors import UsageError
from auditor.runner.execute import TrainedCache
from auditor.targets.load import load_target
from auditor.tasks import Task
from defenses.repair.errors_file import read_errors
from tests.cli.program import inside


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("target") / "demo-gcn"
    words = ("--data", "demo", "--arch", "gcn", "--hidden", "8", "--epochs", "40", "-o", folder)
    done = inside("train", *words, cwd=folder.parent)
    assert done.returncode == 0, done.stderr
    return folder


def test_repaired_target_loads_and_has_the_nodes_right(target: Path, tmp_path: Path) -> None:
    done = inside("repair", target, "--errors", "test", "--max-drawdown", "3", "-o", tmp_path / "out", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "repaired within a budget of 3 points" in done.stdout
    assert "no better than fine-tuning" in " ".join(done.stdout.split())
    assert done.stdout.isascii(), "it is a pipe"
    assert all(line.endswith(".") for line in done.stdout.splitlines()), "nothing is wrapped"
    before, after = load_target(target), load_any(tmp_path / "out", models=TrainedCache())
    assert after.claimed_accuracy == pytest.approx(after.accuracy(), abs=1e-6)
    assert after.name.endswith("+repair")
    y = before.graph.y
    fixed = (
        ~Task("node").correct(before.clean_logits(), y)
        & Task("node").correct(after.clean_logits(), y)
        & before.split.test
    )
    facts = RepairFacts.model_validate_json((tmp_path / "out" / "repair.json").read_bytes())
    number = len(facts.own.ids("repaired"))
    assert int(fixed.sum()) >= number > 0
    assert done.stdout.startswith(f"{number} of {len(facts.own.asked)} wrong nodes")
    assert 'id = "repair' in (tmp_path / "out" / "target.toml").read_text()


def test_nothing_within_the_budget_exits_1_and_saves_nothing(target: Path, tmp_path: Path) -> None:
    right = load_target(target)
    node = int(torch.nonzero(right.split.test & Task("node").correct(right.clean_logits(), right.graph.y))[0])
    (tmp_path / "errors.csv").write_text(f"node,label\n{node},{int(right.graph.y[node])}\n")
    done = inside("repair", target, "--errors", tmp_path / "errors.csv", "-o", tmp_path / "out", cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    assert "Right already: 1" in done.stdout
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["node,label\n99999,0\n", "a,b\n"])
def test_bad_lists_exit_2(text: str, target: Path, tmp_path: Path) -> None:
    (tmp_path / "errors.csv").write_text(text)
    done = inside("repair", target, "--errors", tmp_path / "errors.csv", "-o", tmp_path / "out", cwd=tmp_path)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [("--method", "magic", "gre-plus"), ("--max-drawdown", "inf", "max-drawdown=inf"), ("--max-drawdown", "-1", "")],
)
def test_a_wrong_parameter_exits_2(option: str, value: str, said: str, target: Path, tmp_path: Path) -> None:
    done = inside("repair", target, option, value, "-o", tmp_path / "out", cwd=tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_target_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "target").mkdir()
    check_other_folder(tmp_path / "other", tmp_path / "target")
    for target in (tmp_path / "target", tmp_path / "target" / "target.toml"):
        target.touch()
        with pytest.raises(UsageError, match="own folder"):
            check_other_folder(tmp_path / "other" / ".." / "target", target)


def test_errors_saved_by_a_spreadsheet_are_read(tmp_path: Path) -> None:
    file = tmp_path / "errors.csv"
    file.write_bytes(b"\xef\xbb\xbfnode,label\r\n3,1\r\n")
    assert read_errors(file) == [(3, 1)]
