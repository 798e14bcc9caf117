"""The gate policy of the documentation: it blocks a leaking model and passes another one, through real processes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from auditor.document import Audit, from_bytes

DOCS = Path(__file__).parents[1] / "docs"
CONFIG = DOCS / "examples" / "gate" / "audit.toml"


def auditor(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "OMP_NUM_THREADS": "1", "NO_COLOR": "1"}
    command = [sys.executable, "-m", "auditor", *arguments]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def audits(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The commands of docs/gate.md up to the gate, run as they stand there."""
    folder = tmp_path_factory.mktemp("example")
    section = (DOCS / "gate.md").read_text(encoding="utf-8").partition("## A worked example")[2]
    commands = re.findall(r"^auditor (train|run) (.*)$", section.partition("\n## ")[0], flags=re.MULTILINE)
    assert [verb for verb, _ in commands] == ["train", "train", "run", "run"]
    for verb, rest in commands:
        done = auditor(folder, verb, *rest.split())
        assert done.returncode == 0, done.stdout + done.stderr
    return {name: folder / f"{name}-audit" / "audit.json" for name in ("gcn", "mlp")}


def leak(path: Path) -> tuple[Audit, float, float, float]:
    """The audit, and the judged excess of link stealing with its interval."""
    audit = from_bytes(path.read_bytes())
    (result,) = [r for r in audit.judged if r.finding == "privacy-link-stealing" and r.metric == "headroom"]
    excess = result.excess
    assert excess is not None
    assert excess.value is not None
    assert excess.lo is not None
    assert excess.hi is not None
    return audit, excess.value, excess.lo, excess.hi


@pytest.mark.slow
@pytest.mark.parametrize(("name", "code", "verdict"), [("gcn", 1, "FAILED"), ("mlp", 0, "PASSED")])
def test_the_release_policy_blocks_the_leaking_model_and_passes_the_other(
    audits: dict[str, Path], tmp_path: Path, name: str, code: int, verdict: str
) -> None:
    options = ("--config", str(CONFIG), "--policy", "release")
    done = auditor(tmp_path, "gate", str(audits[name]), *options)
    assert done.returncode == code, done.stdout + done.stderr
    assert verdict in done.stdout.strip().splitlines()[-1]
    audit, _, lo, hi = leak(audits[name])
    assert {cell.status for cell in audit.cells} == {"ok"}
    assert not any(row.status == "fail" for row in audit.validity)
    assert lo >= 0.03 if code else hi < 0.03  # decided by the interval, not by the point


@pytest.mark.slow
def test_the_shipped_default_passes_both(audits: dict[str, Path], tmp_path: Path) -> None:
    for path in audits.values():
        assert auditor(tmp_path, "gate", str(path)).returncode == 0


@pytest.mark.slow
def test_an_accepted_leak_passes_until_it_expires(audits: dict[str, Path], tmp_path: Path) -> None:
    options = ("--config", str(CONFIG), "--policy", "release")
    accept = ("--reason", "known, ticket 12", "--expires", "2027-06-30", "--as-of", "2026-11-21", "-o", "base.json")
    assert auditor(tmp_path, "baseline", "write", str(audits["gcn"]), *options, *accept).returncode == 0
    for day, code in (("2027-06-30", 0), ("2027-07-01", 1)):
        again = auditor(tmp_path, "gate", str(audits["gcn"]), *options, "--baseline", "base.json", "--as-of", day)
        assert again.returncode == code, again.stdout + again.stderr
