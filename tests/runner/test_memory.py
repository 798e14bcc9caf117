"""Workers keep what they free, and hand it back before the next cell is measured."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from auditor.runner.memory import KEEP_FREED, begin_peak, peak_mb
from auditor.runner.processes import environment_of_workers

KEEPS = """
import numpy, psutil
from auditor.runner.memory import begin_peak, peak_mb
def resident(): return psutil.Process().memory_info().rss / 2**20
numpy.ones(2**20)
before = resident()
large = numpy.ones(300 * 2**17)
del large
kept = resident()
begin_peak()
print(kept - before, resident() - before, peak_mb() - before)
"""


def test_a_worker_keeps_what_it_frees_unless_its_environment_says_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEEP_FREED:
        monkeypatch.delenv(name, raising=False)
    given = environment_of_workers(1)
    assert {name: given[name] for name in KEEP_FREED} == KEEP_FREED
    monkeypatch.setenv("MALLOC_MMAP_MAX_", "65536")
    assert environment_of_workers(1)["MALLOC_MMAP_MAX_"] == "65536"


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the settings are those of glibc")
def test_what_is_kept_is_handed_back_before_a_peak_begins() -> None:
    """300 MB that one cell freed stay with the process, and are no part of the peak of the next cell."""
    env = {**os.environ, **KEEP_FREED}
    done = subprocess.run([sys.executable, "-c", KEEPS], env=env, capture_output=True, text=True, check=True)
    kept, left, peak = map(float, done.stdout.split())
    assert kept > 250
    assert left < 50
    assert peak < 50


def test_a_peak_is_what_was_held_since_it_began() -> None:
    begin_peak()
    first = peak_mb()
    held = bytearray(b"x") * (80 * 2**20)
    second = peak_mb()
    assert len(held) == 80 * 2**20
    if first is None or second is None:
        pytest.skip("this system keeps no peak")
    assert second - first > 60
