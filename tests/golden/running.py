"""Runs a scenario and reads its table: one `Tables` per session, so that nothing is run twice."""

from __future__ import annotations

import datetime
import json
import time
from pathlib import Path
from types import TracebackType

from tests.golden.player import Played, Player
from tests.golden.scenarios import SCENARIOS, Judged, Scenario
from tests.golden.table import Document, Table, read_2_0, read_baseline, read_diff, read_repair


class Tables:
    """The tables of scenarios, run on first use in folders side by side."""

    def __init__(self, base: Path) -> None:
        self._base, self._player = base, Player(base / "cache")
        self._played: dict[str, tuple[Played, ...]] = {}
        self.seconds: dict[str, float] = {}

    def __enter__(self) -> Tables:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._player.close()

    def of(self, name: str) -> Table:
        """The table of a scenario; keys begin with the step, or the part of the scenario, they belong to."""
        scenario, played, folder = SCENARIOS[name], self._play(name), self._base / name
        table: Table = {
            f"step {number:02} {step.command.split()[0]}": {"exit_code": step.code}
            for number, step in enumerate(played, 1)
        }
        try:
            parts = _parts(scenario, folder)
        except (OSError, ValueError) as error:
            said = "\n".join(f"$ {step.command}\n{step.stderr}" for step in played if step.code)
            raise AssertionError(f"{name} cannot be read: {error}\n{said}") from error
        for part, rows in parts.items():
            table |= {f"{part} | {key}": row for key, row in rows.items()}
        return table

    def _play(self, name: str) -> tuple[Played, ...]:
        if name not in self._played:
            scenario, folder = SCENARIOS[name], self._base / name
            for needed in scenario.needs:
                self._play(needed)
            folder.mkdir()
            for write in scenario.files:
                write(folder)
            start = time.perf_counter()
            self._played[name] = self._player.play(folder, scenario.commands)
            self.seconds[name] = time.perf_counter() - start
        return self._played[name]


def _parts(scenario: Scenario, folder: Path) -> dict[str, Table]:
    parts = {audit: _without(read_2_0(_document(folder / audit)), scenario.leave_out) for audit in scenario.audits}
    parts |= {f"judged {label}": _decisions(_judged(folder, judged)) for label, judged in scenario.judged.items()}
    parts |= {
        f"diff {label}": _diff(*(folder / side / "audit.json" for side in sides))
        for label, sides in scenario.diffs.items()
    }
    parts |= {
        f"baseline {name}": read_baseline(json.loads((folder / name).read_text(encoding="utf-8")))
        for name in scenario.baselines
    }
    if scenario.repair:
        parts["printed"] = read_repair(json.loads((folder / scenario.repair).read_text(encoding="utf-8")))
    return parts


def _without(table: Table, kinds: tuple[str, ...]) -> Table:
    return {key: row for key, row in table.items() if key.partition(" | ")[0] not in kinds}


def _document(folder: Path) -> Document:
    document: Document = json.loads((folder / "audit.json").read_text(encoding="utf-8"))
    return document


def _decisions(judged: Document) -> Table:
    """What judging decides: the numbers are those of the audit itself."""
    kept = {key: row for key, row in read_2_0(judged).items() if key.startswith(("finding", "coverage", "verdict"))}
    numbers = ("value", "control", "excess", "cells")
    return {key: {name: value for name, value in row.items() if name not in numbers} for key, row in kept.items()}


def _judged(folder: Path, judged: Judged) -> Document:
    """What `auditor gate` prints, as a document."""
    from auditor.cli import judging
    from auditor.document import to_bytes
    from auditor.policy import gate

    day = datetime.date.fromisoformat(judged.as_of)
    config, baseline = (None if name is None else folder / name for name in (judged.config, judged.baseline))
    rules = judging.read_policy(judged.policy, judged.fail_on, config, day)
    audit = judging.read_audit(folder / judged.audit / "audit.json")
    again = gate(audit, rules, judging.read_baseline_file(baseline), as_of=day)
    document: Document = json.loads(to_bytes(again))
    return document


def _diff(old: Path, new: Path) -> Table:
    from auditor.cli import judging
    from auditor.policy.diff import diff

    found = diff(judging.read_audit(old), judging.read_audit(new))
    return {**read_diff(found.model_dump(mode="json")), "exit code": {"exit_code": found.exit_code}}
