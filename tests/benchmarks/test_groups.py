"""Every benchmark of a group is run by it, and starts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from benchmarks import __main__ as whole
from benchmarks import privacy, robustness, shift, trust
from benchmarks.privacy import membership
from benchmarks.shift import nulls
from benchmarks.trust.__main__ import PARTS
from tests.toys import sbm_graph

GROUPS = (privacy, robustness, shift)
SHARED = ("__init__", "cells", "networks")


def commands(tmp_path: Path) -> list[list[str]]:
    return [command for group in GROUPS for command in group.commands(tmp_path).values()]


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_runs_every_module_of_its_folder(group: ModuleType, tmp_path: Path) -> None:
    files = Path(str(group.__file__)).parent.glob("*.py")
    there = {f"{group.__name__}.{path.stem}" for path in files if path.stem not in SHARED}
    assert {command[0] for command in group.commands(tmp_path).values()} == there


def test_the_trust_group_runs_every_part(tmp_path: Path) -> None:
    assert {command[1] for command in trust.commands(tmp_path).values()} == set(PARTS)


@pytest.mark.slow
def test_every_benchmark_of_these_groups_starts(tmp_path: Path) -> None:
    for command in commands(tmp_path):
        module = command[0]
        done = subprocess.run([sys.executable, "-m", module, "--help"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, (module, done.stderr)


def test_a_part_that_ran_replaces_its_own_text_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(whole, "RESULTS", tmp_path / "results.md")
    whole.record("shift", "Second", "\nold\n\n```\n## a heading of its own\n# and one more\n```\n")
    written = (tmp_path / "results.md").read_text().replace("# shift\n", "# shift\n\nBy hand.\n\n## Goals\n\nmet\n", 1)
    (tmp_path / "results.md").write_text(written)
    whole.record("shift", "Second", "\nnew")
    whole.record("privacy", "First", "\nfirst")
    assert (tmp_path / "results.md").read_text() == (
        "# privacy\n\n## First\n\nfirst\n\n# shift\n\nBy hand.\n\n## Goals\n\nmet\n\n## Second\n\nnew\n"
    )


def test_what_the_nulls_count_can_happen_and_can_fail_to(monkeypatch: pytest.MonkeyPatch) -> None:
    draws = [np.random.default_rng([0, repeat]) for repeat in range(20)]
    assert sum(nulls.halves_hold(rng) for rng in draws) >= 16
    assert sum(nulls.family_is_raised(rng, 5) for rng in draws) <= 3
    assert nulls.family_is_raised(draws[0], 5, gap=0.15)
    assert not any(nulls.group_is_raised(rng) for rng in draws[:5])
    monkeypatch.setattr(nulls, "worst_group", lambda *_, **__: SimpleNamespace(bounds=(0.1, 0.2), chance=0.7, p=0.01))
    assert nulls.group_is_raised(draws[0])


def test_the_membership_benchmark_measures_both_ways_of_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("EPOCHS", 2), ("REFERENCES", 8), ("FEWER", 8)):
        monkeypatch.setattr(membership, name, value)
    rows, costs = membership.measure(sbm_graph(120), 0)
    assert {name.rpartition(", ")[2] for name in rows} >= {"0-hop", "full"}
    assert all(0 <= value <= 1 for pair in rows.values() for value in pair)
    assert costs.keys() == {"together", "one by one", "accuracy"}
