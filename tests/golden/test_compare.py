"""Golden comparisons of defences, and the probes of what joint-cluster ships."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.golden.scenarios import COMPARISONS


@pytest.mark.parametrize("name", COMPARISONS)
def test_numbers_and_decisions_are_those_stored(name: str, agrees: Callable[[str], None]) -> None:
    agrees(name)
