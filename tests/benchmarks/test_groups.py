"""Every benchmark of a group is run by it, and starts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import privacy, trust
from benchmarks.trust.__main__ import PARTS

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
