"""A defence that retrains, skips, crashes or does not fit, its line of the registry, and tables for a test alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

import pytest
from torch import Tensor

from auditor import registry
from auditor.defense import DefenseTask
from auditor.errors import ConfigError, SkippedError
from auditor.registry import Entry, Table
from auditor.targets.tag import DefenseTag
from auditor.targets.target import Target

TABLE = Table(entries=(Entry("fake", f"{__name__}:Fake", "retrains, or does not"),))


def register(monkeypatch: pytest.MonkeyPatch, group: str, table: Table) -> None:
    """Adds a table to a group of the registry until the test ends."""
    known = registry._tables
    monkeypatch.setattr(registry, "_tables", lambda name: (*known(name), *[table] * (name == group)))


@dataclasses.dataclass(frozen=True)
class Fake:
    """Behaves as `mode` says; the own control of `beside` can be fitted, that of `alone` cannot."""

    mode: str = "retrain"
    id: ClassVar[str] = "fake"
    version: ClassVar[str] = "1"

    def fit(self, target: Target, task: DefenseTask) -> Target:
        if self.mode == "skip":
            raise SkippedError("not for this target")
        if self.mode == "crash":
            raise ZeroDivisionError("planted")
        if self.mode == "misfit":
            raise ConfigError("planted")
        return dataclasses.replace(
            target.retrained(seed=task.seed + 7),
            digest=f"{target.digest}{self.mode}{task.seed}",
            defense=DefenseTag(f"fake:mode={self.mode}", "1", task.seed, target.digest),
        )

    def wrap(self, base: Target, tensors: Mapping[str, Tensor], task: DefenseTask) -> Target:
        raise AssertionError

    def controls(self) -> tuple[str, ...]:
        return {"beside": ("fake:mode=again", "fake:mode=skip"), "alone": ("fake:mode=skip", "fake:mode=again")}.get(
            self.mode, ()
        )
