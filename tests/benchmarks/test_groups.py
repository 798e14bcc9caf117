"""Every benchmark of a group is run by it, and starts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import privacy, trust
from benchmarks.privacy import membership
from benchmarks.trust.__main__ import PARTS
from tests.toys import sbm_graph

PRIVACY = Path(privacy.__file__).parent


def commands(tmp_path: Path) -> list[list[str]]:
    return list(privacy.commands(tmp_path).values())


def test_the_privacy_group_runs_every_module_of_its_folder(tmp_path: Path) -> None:
    there = {f"benchmarks.privacy.{path.stem}" for path in PRIVACY.glob("*.py") if path.stem != "__init__"}
    assert {command[0] for command in commands(tmp_path)} == there


def test_the_trust_group_runs_every_part(tmp_path: Path) -> None:
    assert {command[1] for command in trust.commands(tmp_path).values()} == set(PARTS)


@pytest.mark.slow
def test_every_privacy_benchmark_starts(tmp_path: Path) -> None:
    for command in commands(tmp_path):
        module = command[0]
        done = subprocess.run([sys.executable, "-m", module, "--help"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, (module, done.stderr)


def test_the_membership_benchmark_measures_both_ways_of_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("EPOCHS", 2), ("REFERENCES", 8), ("FEWER", 8)):
        monkeypatch.setattr(membership, name, value)
    rows, costs = membership.measure(sbm_graph(120), 0)
    assert {name.rpartition(", ")[2] for name in rows} >= {"0-hop", "full"}
    assert all(0 <= value <= 1 for pair in rows.values() for value in pair)
    assert costs.keys() == {"together", "one by one", "accuracy"}
