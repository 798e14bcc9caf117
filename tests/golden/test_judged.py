"""Golden audits of a node and a graph classifier, judged, compared in time and repaired."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.golden.scenarios import JUDGED


@pytest.mark.parametrize("name", JUDGED)
def test_numbers_and_decisions_are_those_stored(name: str, agrees: Callable[[str], None]) -> None:
    agrees(name)
