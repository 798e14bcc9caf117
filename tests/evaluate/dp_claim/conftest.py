"""Registers the toy mechanisms beside the built-in defences."""

from __future__ import annotations

import pytest

from auditor import registry
from tests.evaluate.dp_claim.claims import TOYS


@pytest.fixture(autouse=True)
def _toys(monkeypatch: pytest.MonkeyPatch) -> None:
    known = registry._tables

    def tables(group: str) -> tuple[registry.Table, ...]:
        return (*known(group), TOYS) if group == "defenses" else known(group)

    monkeypatch.setattr(registry, "_tables", tables)
