"""The comparison: one target undefended and under each defence × every probe × every seed, controls included.

User code trains and runs the models wherever the executor is; what is compared here are the numbers that it gave.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from auditor import registry
from auditor.compare.arms import Arms, DefenseRequest, controls_of
from auditor.compare.checks import control_rows
from auditor.compare.gain import FINDING, PROBE, ArmScores, gain_measured
from auditor.compare.matrix import comparison_of
from auditor.compare.pairing import Compared
from auditor.document import NONE, Audit, CellRow, Comparison, Result
from auditor.errors import ConfigError
from auditor.runner.assemble import RunSettings, assemble_audit
from auditor.runner.execute import not_run
from auditor.runner.executor import Executor
from auditor.runner.finished import Finished, unmade
from auditor.runner.observer import Observer
from auditor.runner.plain import Edits, Ground, unpacked
from auditor.runner.plan import FIT, GAIN, STEPS, PlannedCell, ProbeRequest
from auditor.runner.record import Described, Record
from auditor.runner.running import carried_out
from auditor.runner.scoring import arm_scores, distinct
from auditor.statistics.draws import generator
from auditor.stopping import exit_code_of
from auditor.targets.tag import DefenseTag, Made


def run_compare(
    executor: Executor,
    described: Described,
    defenses: Sequence[DefenseRequest],
    probes: Sequence[ProbeRequest],
    settings: RunSettings,
    *,
    observer: Observer,
    record: Record,
    kept: Mapping[str, Finished] | None = None,
) -> Audit:
    """Fits every defence once per seed, audits each, tries every edit on every arm, and compares.

    A defence that cannot be fitted gives rows that say why; the others go on.

    Args:
        executor: what carries the cells out.
        described: what it said of the undefended target, and the plan.
        defenses: the arms, `none` first.
        probes: that were asked for.
        settings: what is asked for besides.
        observer: watches.
        record: gets every cell as it is finished.
        kept: cells that need not run again, by key.

    Raises:
        ConfigError: a defence that was asked for has a parameter that does not fit this target.
    """
    clock, interrupted = time.perf_counter(), 0
    run = _Run(described, defenses, probes, settings, observer)
    observer.planned(described.cells)
    try:
        run.take_kept(kept or {})
        for stage in (run.fits, run.audits, run.gains):
            for done in carried_out(executor, list(stage()), observer, record):
                run.take(done)
    except KeyboardInterrupt as stop:
        interrupted = exit_code_of(stop)
    rows = run.rows()
    return assemble_audit(
        described.target,
        rows,
        settings,
        validity=described.validity,
        planned=sum(cell.spec != FIT for cell in described.cells) if interrupted else len(rows),
        named={cell.id for cell in described.cells if cell.named},
        seconds=time.perf_counter() - clock,
        interrupted=interrupted,
        environment=described.environment,
        compare=lambda results: run.compared(rows, results),
    )


@dataclass(frozen=True, eq=False)
class _Run:
    """One comparison under way: what was asked for, and the cells that are done, by key."""

    described: Described
    defenses: Sequence[DefenseRequest]
    probes: Sequence[ProbeRequest]
    settings: RunSettings
    observer: Observer
    finished: dict[str, Finished] = field(default_factory=dict)

    @property
    def ground(self) -> Ground:
        """What every arm is measured on."""
        assert self.described.ground is not None
        return self.described.ground

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """Of the test items."""
        return unpacked(self.ground.labels)

    @cached_property
    def parts(self) -> dict[str, NDArray[np.bool_]]:
        """Sets of test items that are measured on their own."""
        return {name: unpacked(text).astype(bool) for name, text in self.ground.parts.items()}

    def take_kept(self, kept: Mapping[str, Finished]) -> None:
        """Cells of an interrupted run; where edits are still to be found, every arm is tried again."""
        for is_last in (False, True):
            if is_last and (self._left(FIT) or any(self.audits())):
                return
            for cell in self.described.cells:
                if cell.key in kept and (cell.spec == GAIN) == is_last:
                    self.take(kept[cell.key])
                    self.observer.finished(kept[cell.key].row)

    def take(self, done: Finished) -> None:
        """One cell that is done."""
        row = done.row
        if done.misfit and not self._request(row.arm).control_of:
            raise ConfigError(row.reason)
        if row.status == "ok" and row.probe in STEPS:
            try:
                if done.made is None:
                    raise ValueError("no model")
                if row.probe == GAIN:
                    self._scores(done)
            except ValueError as error:
                done = Finished(row.model_copy(update={"status": "error", "reason": f"the process gave {error}"}))
        self.finished[row.key] = done

    @property
    def arms(self) -> Arms:
        """What was made so far, in the order of the plan, whoever was done first."""
        arms = Arms()
        for seed in self.settings.seeds:
            arms.targets[NONE, seed], arms.seconds[NONE, seed] = Made(self.described.target.digest), 0.0
        for cell in self.described.cells:
            done, key = self.finished.get(cell.key), (cell.arm, cell.seed)
            if done is None or cell.is_probe:
                continue
            if cell.spec == GAIN and done.scores is not None:
                arms.scores[key] = self._scores(done)
            elif cell.spec == FIT:
                arms.seconds[key] = done.row.seconds
                if done.made is None:
                    arms.reasons[key] = ("skipped" if done.row.status == "skipped" else "error", done.row.reason)
                else:
                    arms.targets[key] = done.made
        return arms

    def fits(self) -> Iterator[PlannedCell]:
        """The defences that are still to be fitted."""
        yield from self._left(FIT)

    def audits(self) -> Iterator[PlannedCell]:
        """The cells of the arms that were fitted; those of the others are done: their rows say why."""
        arms = self.arms
        for cell in self._left():
            key = (cell.arm, cell.seed)
            if cell.is_probe and key in arms.targets:
                yield cell
            elif cell.is_probe and key in arms.reasons:
                status, why = arms.reasons[key]
                for done in not_run([cell], status, unmade(cell.arm, why), self.observer):
                    self.finished[cell.key] = done

    def gains(self) -> Iterator[PlannedCell]:
        """Every arm that was fitted, with every edit that was found on any arm of its seed."""
        made = self.arms.targets
        edits = {seed: self._found(made, seed) for seed in self.settings.seeds}
        for cell in self._left(GAIN):
            if (cell.arm, cell.seed) in made:
                yield cell.model_copy(update={"flips": edits[cell.seed]})

    def rows(self) -> list[Finished]:
        """The cells of the document: the probes', then each arm beside the others, once all of them were tried."""
        done = [self.finished[cell.key] for cell in self.described.cells if cell.is_probe and cell.key in self.finished]
        arms = self.arms
        tried = [cell for cell in self.described.cells if cell.spec == GAIN and (cell.arm, cell.seed) in arms.targets]
        if not all(cell.key in self.finished for cell in tried):
            return done
        budgets = _budget_names([each.row for each in done])
        for cell in tried:
            each = self.finished[cell.key]
            done.append(self._gain(arms, each, budgets) if (cell.arm, cell.seed) in arms.scores else each)
        return done

    def compared(self, rows: Sequence[Finished], results: Sequence[Result]) -> Comparison:
        """The comparison of what is done, from its joined results."""
        cells, constant = [each.row for each in rows], self.ground.constant
        compared = Compared(self.defenses, self.arms, cells, results, self.settings.seeds, constant)
        return comparison_of(compared, _left_out(self.probes))

    def _left(self, spec: str | None = None) -> list[PlannedCell]:
        return [cell for cell in self.described.cells if cell.key not in self.finished and spec in (None, cell.spec)]

    def _request(self, spec: str) -> DefenseRequest:
        return next(request for request in self.defenses if request.spec == spec)

    def _scores(self, done: Finished) -> ArmScores:
        if done.scores is None:
            raise ValueError("no scores")
        return arm_scores(done.scores, len(self.labels))

    def _found(self, made: Mapping[tuple[str, int], Made], seed: int) -> tuple[Edits, ...]:
        """The edits found on the arms of a seed, at that seed or on the same model at another."""
        found: dict[str, list[Edits]] = {}
        for cell in self.described.cells:
            key = (cell.arm, cell.seed)
            if cell.is_probe and cell.key in self.finished and key in made:
                found.setdefault(made[key].digest, []).extend(self.finished[cell.key].flips)
        there = [made[request.spec, seed].digest for request in self.defenses if (request.spec, seed) in made]
        return distinct([each for digest in there for each in found.get(digest, [])])

    def _gain(self, arms: Arms, done: Finished, budgets: Mapping[int, str]) -> Finished:
        """One arm of one seed beside its controls and beside no defence."""
        start, seed, request = time.perf_counter(), done.row.seed, self._request(done.row.arm)
        wanted = controls_of(request, self.defenses)
        controls = [spec for spec in wanted if (spec, seed) in arms.scores]
        names = (*controls, NONE) if request.defense is not None else ()
        own = arms.scores[request.spec, seed]
        tag, judged = arms.targets[request.spec, seed].defense, ""
        validity = () if tag is None else tag.validity
        if wanted and wanted[0] in controls:  # against its own control, never against the next best
            judged = _judged(request, tag)
            beside = [arms.targets[spec, seed] for spec in controls]
            validity = (*validity, *control_rows(request, beside, tag, arms, self.labels, self.parts))
        numbers = gain_measured(
            own,
            {spec: arms.scores[spec, seed] for spec in names if (spec, seed) in arms.scores},
            self.labels,
            budgets,
            generator(seed, PROBE),
            poisoned=self.ground.poisoned,
            judged=judged,
            parts=self.parts,
        )
        update = {
            "params": {"attacks": {budgets.get(b, str(b)): n for b, n in own.attacks.items()}},
            "validity": validity,
            "seconds": done.row.seconds + time.perf_counter() - start,
        }
        by_fit = () if tag is None or request.control_of else tag.measured
        row = done.row.model_copy(update=update)
        return Finished(row, ("features", "graph", "labels", "weights"), (*numbers, *by_fit))


def _judged(request: DefenseRequest, tag: DefenseTag | None) -> str:
    """The finding that the gate looks at: of defences that were asked for and have no Guarantee to be judged by."""
    if request.control_of or tag is None or tag.guarantee is not None:
        return ""
    return FINDING if request.effect is None else request.effect


def _budget_names(cells: Sequence[CellRow]) -> dict[int, str]:
    """Subset name of each budget in edges, as the robustness cells resolved them."""
    names: dict[int, str] = {}
    for cell in cells:
        if cell.family == "robustness" and isinstance(cell.params.get("budgets"), Mapping):
            names |= {int(edges): str(name) for name, edges in cell.params["budgets"].items()}
    return names


def _left_out(probes: Sequence[ProbeRequest]) -> tuple[str, ...]:
    """Probes of profile `standard` that this comparison did not run."""
    ran = {request.entry.id for request in probes}
    return tuple(p.id for p in registry.probes().values() if "standard" in p.profiles and p.id not in ran)
