"""A sample of the benchmark of trust, at the quick profile: one run of each null and of each planted leak."""

from __future__ import annotations

import pytest

from benchmarks.trust import null, planted, probes

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("kind", null.KINDS)
def test_a_model_that_never_saw_the_edges_does_not_fail(kind: str) -> None:
    rows = null.run(kind, 0, "quick")
    assert rows
    assert not [row.said for row in rows if row.status == "fail" or row.crosses]


@pytest.mark.parametrize("kind", planted.TO_FIND)
def test_a_planted_leak_is_found(kind: str) -> None:
    rows = planted.run(kind, 0, "quick")
    assert any(row.claim for row in rows), [row.said for row in rows]


@pytest.mark.parametrize("kind", probes.TO_FIND)
def test_every_probe_finds_what_its_model_gives_away(kind: str) -> None:
    rows = probes.run(kind, 0, "quick")
    claimed = {row.probe for row in rows if row.claim}
    assert claimed == set(probes.made(kind, 0).probes), [row.said for row in rows]


@pytest.mark.parametrize("kind", probes.NULLS)
def test_no_probe_fails_a_model_that_gives_nothing_away(kind: str) -> None:
    rows = probes.run(kind, 0, "quick")
    assert rows
    assert not [row.said for row in rows if row.status == "fail" or row.crosses]
