"""The examples of the pages are whole plug-ins: each is installed as one and held to the contract suites."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from auditor.defense import DefenseTask
from auditor.runner.execute import TrainedCache
from tests.toys import toy_target

ROOT = Path(__file__).parents[1]


def example(page: str) -> str:
    """Every Python block of a page, one after another."""
    blocks = re.findall(r"^```python\n(.*?)^```$", (ROOT / page).read_text(encoding="utf-8"), flags=re.S | re.M)
    return "\n".join(blocks)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("page", "group", "name", "suite"),
    [
        ("CONTRIBUTING.md", "attacks", "hubs", "attacks"),
        ("docs/adding-a-probe.md", "attacks", "train_gap", "attacks"),
        ("docs/adding-a-defence.md", "defenses", "soften", "defenses"),
        ("docs/adding-a-report.md", "reports", "plain", "reports"),
    ],
)
def test_an_example_is_a_plug_in_that_keeps_the_contract(
    page: str, group: str, name: str, suite: str, tmp_path: Path
) -> None:
    (tmp_path / f"{name}.py").write_text(example(page), encoding="utf-8")
    info = tmp_path / f"{name}-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
    (info / "entry_points.txt").write_text(f"[auditor.{group}]\n{name} = {name}:TABLE\n")
    words = name.replace("_", "-")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"tests/{suite}/test_contract.py"]
    done = subprocess.run(
        [*command, "-k", f"{words} and not there_is_a_page"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr  # 5, had the suite not seen it


def test_the_worked_defence_is_rebuilt_from_what_it_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "worked_defence.py").write_text(example("docs/adding-a-defence.md"), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    soften = importlib.import_module("worked_defence")
    target, task = toy_target("gcn", epochs=5), DefenseTask(0, TrainedCache())
    fitted = soften.Soften(temperature=2.0).fit(target, task)
    again = soften.Soften().wrap(target, fitted.model.state_dict(), task)
    assert torch.equal(fitted.clean_logits(), target.clean_logits() / 2)
    assert torch.equal(again.clean_logits(), fitted.clean_logits())
