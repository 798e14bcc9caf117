"""An audited claim in worker processes: a training function that ends, hangs or fills its process gives no verdict."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from auditor.api.report import Report
from auditor.document import canonical
from tests.cli.program import auditor as program
from tests.runner.hostile import ENDS, hostile

pytestmark = pytest.mark.workers
TRAIN = """
import os, sys, time
import torch
from torch import nn
from torch_geometric.nn import GCNConv


class Net(nn.Module):
    def __init__(self, features, classes):
        super().__init__()
        self.conv = GCNConv(features, classes)

    def forward(self, x, edge_index):
        return self.conv(x, edge_index)


def fit(data, seed, noise=True):
    {does}
    torch.manual_seed(seed)
    return Net(data.graph.x.shape[1], data.num_classes)
"""
WHAT = ("--claim", "1,1e-3", "--level", "edge", "--canaries", "35", "--alpha", "0.3", "--train", "mine.py:fit")


def claimed(folder: Path, does: str, *words: Any, out: str = "out") -> tuple[int, Report]:
    if not (folder / "t").exists():
        hostile(folder / "t")
    (folder / "mine.py").write_text(TRAIN.format(does=does))
    done = program("dp-claim", "t", *WHAT, "-o", out, *map(str, words), cwd=folder)
    assert "Traceback" not in done.stdout + done.stderr
    return done.returncode, Report.load(folder / out)


def test_a_training_that_ends_its_process_is_a_row_with_the_plan_and_no_verdict(tmp_path: Path) -> None:
    code, report = claimed(tmp_path, "os._exit(0)")
    assert (code, report.verdict.status) == (3, "INCOMPLETE")
    (cell,) = report.cells
    assert (cell.status, cell.reason) == ("error", "it ended its process, exit code 0")
    assert cell.params["preregistration"]["claim"]["epsilon"] == 1


def by_seed(ways: Sequence[str]) -> str:
    """Code of a training that ends in another way at each seed, and is harmless at those beyond."""
    return f"exec(dict(enumerate({list(ways)!r})).get(seed, 'pass'))"


@pytest.mark.slow
def test_an_end_of_a_training_is_a_row_and_the_other_repeats_go_on(tmp_path: Path) -> None:
    """Every way to end a process, in a repeat of its own."""
    last = len(ENDS)
    code, report = claimed(tmp_path, by_seed(list(ENDS.values())), "--runs", last + 1)
    assert {cell.seed: cell.status for cell in report.cells} == {**dict.fromkeys(range(last), "error"), last: "ok"}
    assert code in (1, 3)
    assert code == report.verdict.exit_code


@pytest.mark.slow
@pytest.mark.parametrize(
    ("does", "limit", "status", "said"),
    [
        ("time.sleep(1e6)", ("--cell-timeout", 45), "timeout", "it took longer than 45 s (--cell-timeout)"),
        (
            "fit.kept = [torch.ones(25_000_000) for _ in range(200)]",
            ("--max-memory", 2),
            "error",
            "it needed more than 2.0 GB (--max-memory)",
        ),
    ],
    ids=["time", "memory"],
)
def test_limits_hold_for_a_training(tmp_path: Path, does: str, limit: tuple[Any, ...], status: str, said: str) -> None:
    code, report = claimed(tmp_path, does, *limit)
    assert code == 3
    assert [(cell.status, cell.reason) for cell in report.cells] == [(status, said)]


@pytest.mark.slow
def test_two_processes_write_what_one_does_and_a_finished_repeat_is_not_run_again(tmp_path: Path) -> None:
    ran = "open('ran', 'a').write(f'{seed} ')"
    _code, one = claimed(tmp_path, ran, "--runs", 2, "--jobs", 1)
    _code, two = claimed(tmp_path, ran, "--runs", 2, "--jobs", 2, out="two")
    assert canonical(one.document) == canonical(two.document)
    cut = shutil.copytree(tmp_path / "out", tmp_path / "cut")
    run = json.loads((cut / "run.json").read_bytes())
    (cut / "run.json").write_text(json.dumps({**run, "complete": False}))
    (cut / "cells.jsonl").write_bytes((cut / "cells.jsonl").read_bytes().splitlines(keepends=True)[0])
    (tmp_path / "ran").unlink()
    _code, again = claimed(tmp_path, ran, "--runs", 2, "--jobs", 1, out="cut")
    assert canonical(again.document) == canonical(one.document)
    assert set((tmp_path / "ran").read_text().split()) == {"1"}
