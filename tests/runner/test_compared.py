"""A comparison in worker processes: what user code does there costs its cell at most; kills lose nothing."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections import Counter
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from auditor.api.report import Report
from auditor.document import Audit, canonical, from_bytes
from tests.cli.program import auditor as program
from tests.cli.program import killed
from tests.runner.hostile import ENDS, IN_CORRUPTION, IN_FIT, hostile, in_turn

pytestmark = pytest.mark.workers
WHAT = ("--defense", "temperature", "--profile", "quick")
STRATA = (*WHAT, "--only", "strata")


def compared(folder: Path, out: Path, *words: Any, only: str = "strata", jobs: int = 1) -> tuple[int, Audit]:
    done = program("compare", folder, *WHAT, "--only", only, "--jobs", str(jobs), "-o", out, *map(str, words))
    assert "Traceback" not in done.stdout + done.stderr
    return done.returncode, Report.load(out).document


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Audit:
    """An undisturbed comparison of a harmless target, its seeds two."""
    folder = tmp_path_factory.mktemp("whole")
    code, audit = compared(hostile(folder / "t"), folder / "out", "--seeds", "0,1")
    assert code == 1
    assert {cell.status for cell in audit.cells} == {"ok"}
    return audit


def test_the_end_of_a_process_costs_one_cell_and_the_other_arm_goes_on(tmp_path: Path) -> None:
    """The defence is fitted in a worker that ends: nothing of it is known, and nothing passes for that."""
    code, audit = compared(hostile(tmp_path / "t", forward=IN_FIT + "os._exit(0)"), tmp_path / "out")
    assert code == 3
    said = {(cell.arm, cell.probe): (cell.status, cell.reason) for cell in audit.cells}
    assert said["none", "strata"] == said["none", "gain"] == ("ok", "")
    status, reason = said["temperature", "strata"]
    assert status == "error"
    assert reason.startswith("temperature was not fitted: it ended its process, exit code 0")
    assert audit.comparison is not None
    assert [bool(arm.reason) for arm in audit.comparison.arms] == [False, True]


@pytest.mark.slow
def test_two_processes_write_what_one_does(tmp_path: Path, whole: Audit) -> None:
    _code, audit = compared(hostile(tmp_path / "t"), tmp_path / "out", "--seeds", "0,1", jobs=2)
    assert canonical(audit) == canonical(whole)


@pytest.mark.slow
def test_an_end_in_a_fit_leaves_the_undefended_model_and_gives_no_verdict(tmp_path: Path) -> None:
    target = in_turn(tmp_path / "t", IN_FIT, list(ENDS.values()))
    code, audit = compared(target, tmp_path / "out", "--seeds", ",".join(map(str, range(len(ENDS)))))
    assert code == 3
    assert {cell.status for cell in audit.cells if cell.arm == "none"} == {"ok"}
    fitted = [cell for cell in audit.cells if cell.arm == "temperature" and cell.probe == "strata"]
    assert [cell.status for cell in fitted] == ["error"] * len(ENDS)
    assert all(cell.reason.startswith("temperature was not fitted: ") for cell in fitted)
    assert len((tmp_path / "ended").read_text()) == len(ENDS)


@pytest.mark.slow
def test_an_end_in_a_cell_is_its_row_and_never_a_verdict(tmp_path: Path) -> None:
    last = len(ENDS)
    target, seeds = in_turn(tmp_path / "t", IN_CORRUPTION, list(ENDS.values())), ",".join(map(str, range(last)))
    code, audit = compared(target, tmp_path / "out", "--seeds", seeds, only="corruption")
    assert code == 3
    found = Counter((cell.probe, cell.status) for cell in audit.cells)
    assert found["corruption", "error"] == last
    assert found["corruption", "ok"] == last
    assert {status for probe, status in found if probe != "corruption"} == {"ok"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("does", "limit", "said"),
    [
        ("time.sleep(1e6)", ("--cell-timeout", 30), "it took longer than 30 s (--cell-timeout)"),
        (
            "self.kept = [torch.ones(25_000_000) for _ in range(200)]",
            ("--max-memory", 2),
            "it needed more than 2.0 GB (--max-memory)",
        ),
    ],
    ids=["time", "memory"],
)
def test_limits_hold_for_a_fit(tmp_path: Path, does: str, limit: tuple[Any, ...], said: str) -> None:
    code, audit = compared(hostile(tmp_path / "t", forward=IN_FIT + does), tmp_path / "out", *limit)
    assert code == 3
    assert {cell.reason for cell in audit.cells if cell.arm != "none"} == {f"temperature was not fitted: {said}"}
    assert {cell.status for cell in audit.cells if cell.arm == "none"} == {"ok"}


@pytest.mark.slow
def test_code_that_patches_its_process_changes_no_number(tmp_path: Path, whole: Audit) -> None:
    patched = hostile(tmp_path / "t", build="json.dumps = json.loads = lambda *a, **k: '{}'; os.chdir('/')")
    _code, audit = compared(patched, tmp_path / "out", "--seeds", "0,1")
    assert [result.estimate for result in audit.results] == [result.estimate for result in whole.results]


@pytest.mark.slow
def test_a_killed_comparison_goes_on_and_the_last_complete_one_stays(tmp_path: Path, whole: Audit) -> None:
    target, out = hostile(tmp_path / "t"), tmp_path / "out"
    compared(target, out)
    kept = (out / "audit.json").read_bytes()
    words, seen = (*STRATA, "--seeds", "0,1", "--jobs", "1"), 0
    for after, number in product((8, 12, 16), (signal.SIGKILL, signal.SIGINT)):
        if killed("compare", target, out, number, after, *words) is None:
            break
        found = (out / "audit.json").read_bytes()
        if canonical(from_bytes(found)) == canonical(whole):
            break  # it was about to end anyway
        assert found == kept
        if json.loads((out / "run.json").read_bytes())["complete"]:
            continue  # it had not begun: the record is that of the run before
        lines = [json.loads(line) for line in (out / "cells.jsonl").read_bytes().splitlines()]
        assert len(lines) >= seen
        seen = len(lines)
    _code, audit = compared(target, out, "--seeds", "0,1")
    assert canonical(audit) == canonical(whole)
    keys = [json.loads(line)["cell"]["row"]["key"] for line in (out / "cells.jsonl").read_bytes().splitlines()]
    assert len(keys) == len(set(keys))


@pytest.mark.slow
def test_what_is_finished_is_not_run_again_and_edits_are_kept_with_it(tmp_path: Path, whole: Audit) -> None:
    """The record of a comparison without its last lines is one that was killed there."""
    target, out = hostile(tmp_path / "t"), tmp_path / "out"
    seeds = ("--seeds", "0,1")
    _code, first = compared(target, out, *seeds, only="structure-evasion")
    lines = (out / "cells.jsonl").read_bytes().splitlines(keepends=True)
    assert any(json.loads(line)["cell"]["flips"] for line in lines)
    for left in (2, 5, len(lines) - 1):
        again = shutil.copytree(out, tmp_path / str(left))
        run = json.loads((again / "run.json").read_bytes())
        (again / "run.json").write_text(json.dumps({**run, "complete": False}))
        (again / "cells.jsonl").write_bytes(b"".join(lines[:left]))
        _code, audit = compared(target, again, *seeds, only="structure-evasion")
        assert canonical(audit) == canonical(first)
        rows = [json.loads(line)["cell"]["row"] for line in (again / "cells.jsonl").read_bytes().splitlines()]
        assert {row["key"] for row in rows} == {json.loads(line)["cell"]["row"]["key"] for line in lines}


@pytest.mark.slow
def test_the_program_itself_loads_and_runs_no_model(tmp_path: Path) -> None:
    seen = tmp_path / "processes"
    noted = f"open({str(seen)!r}, 'a').write(f'{{os.getpid()}} ')"
    folder = hostile(tmp_path / "t", top=noted, build=noted, forward=noted)
    code = "import os, sys; from auditor.__main__ import run; run(sys.argv[1:]); print(os.getpid())"
    words = ["compare", str(folder), *STRATA, "--jobs", "1", "-o", str(tmp_path / "out")]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    (worker,) = set(seen.read_text().split())
    assert worker != done.stdout.split()[-1]
