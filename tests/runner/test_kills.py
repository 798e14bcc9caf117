"""Kills at random moments: the last complete document stays, and a resumed run ends as an undisturbed one does."""

from __future__ import annotations

import json
import random
import shutil
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from auditor.document import canonical, from_bytes
from tests.cli.program import auditor as program
from tests.cli.program import inside, killed
from tests.runner.hostile import hostile

pytestmark = [pytest.mark.workers, pytest.mark.slow]
LINKS = "posterior-similarity:negatives=2000,replicates=50"
WHAT = ("--only", f"strata,corruption,{LINKS}", "--profile", "quick", "--seeds", "0,1")
EARLIER = ("--only", "strata", "--profile", "quick", "--format", "markdown")
EXIT = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129, signal.SIGKILL: -9}


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return hostile(tmp_path_factory.mktemp("kills") / "t")


@pytest.fixture(scope="module")
def undisturbed(target: Path) -> tuple[bytes, float]:
    """The canonical document and the seconds that it takes."""
    start = time.monotonic()
    done = program("run", target, *WHAT, "-o", target.parent / "whole")
    assert done.returncode in (0, 1), done.stderr
    raw = (target.parent / "whole" / "audit.json").read_bytes()
    return canonical(from_bytes(raw)), time.monotonic() - start


@pytest.fixture(scope="module")
def earlier(target: Path) -> Path:
    """A folder with the complete audit of another plan."""
    out = target.parent / "earlier"
    done = program("run", target, *EARLIER, "-o", out)
    assert done.returncode in (0, 1), done.stderr
    return out


def keys(out: Path, *, done: bool = False) -> list[str]:
    """Of the cells in the record, each as often as it is there; a torn last line is none.

    While a run is under way, those of the run before that is complete are none of it.
    """
    if json.loads((out / "run.json").read_bytes())["complete"] != done:
        return []
    lines = (out / "cells.jsonl").read_bytes().split(b"\n")[:-1]
    return [json.loads(line)["cell"]["row"]["key"] for line in lines]


@pytest.mark.parametrize(("number", "jobs"), [*((number, 2) for number in EXIT), (signal.SIGKILL, 1)])
def test_nothing_finished_is_lost(
    tmp_path: Path, target: Path, earlier: Path, undisturbed: tuple[bytes, float], number: signal.Signals, jobs: int
) -> None:
    whole, seconds = undisturbed
    out, rng = shutil.copytree(earlier, tmp_path / "out"), random.Random(f"{number}-{jobs}")
    kept = (out / "audit.json").read_bytes()
    ran: Counter[str] = Counter()
    for _ in range(2):
        code = killed("run", target, out, number, rng.uniform(0.3, 1.0) * seconds, *WHAT, "--jobs", str(jobs))
        if code is None:
            break
        found = (out / "audit.json").read_bytes()
        if canonical(from_bytes(found)) == whole:
            break  # it was about to end anyway, with the code of its verdict or of the signal
        assert code in (EXIT[number], -number)  # the latter where it came before the program could heed it
        assert found == kept
        before = Counter(ran)
        ran = Counter(keys(out))
        assert not before - ran
    done = program("run", target, *WHAT, "--jobs", str(jobs), "-o", out)
    assert done.returncode in (0, 1), done.stderr
    assert canonical(from_bytes((out / "audit.json").read_bytes())) == whole
    finished = keys(out, done=True)
    assert finished
    assert len(finished) == len(set(finished))


@pytest.mark.parametrize(
    "wrong",
    [
        ("--seeds", "x"),
        ("--policy", "nope"),
        ("--baseline", "missing.json"),
        ("--only", "nope"),
        ("--only", "strata:foo=1"),
        ("--format", "nope"),
        ("--jobs", "0"),
        ("--shard", "3/2"),
        ("--profile", "nope"),
        ("--fail-on", "zzz"),
    ],
    ids=" ".join,
)
def test_a_usage_error_changes_nothing(tmp_path: Path, target: Path, wrong: tuple[str, str]) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "audit.json").write_bytes(b"as it was")
    done = inside("run", target, *wrong, "-o", out, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert [path.name for path in out.iterdir()] == ["audit.json"]
    assert (out / "audit.json").read_bytes() == b"as it was"
