"""Registers the fake defence beside the built-in ones."""

from __future__ import annotations

import pytest

from tests.compare.fake import TABLE, register


@pytest.fixture(autouse=True)
def _fake(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, "defenses", TABLE)
