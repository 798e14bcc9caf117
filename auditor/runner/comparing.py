"""The comparison: one target undefended and under each defence × every probe × every seed, controls included."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from auditor import registry
from auditor.compare.arms import Arms, DefenseRequest, controls_of, fit_defended
from auditor.compare.checks import control_rows, origin_rows
from auditor.compare.gain import FAMILY, FINDING, PROBE, gain_measured, score_arm, sized_parts
from auditor.compare.matrix import comparison_of
from auditor.compare.pairing import Compared
from auditor.data.deeprobust import poisoned_by
from auditor.document import NONE, Audit, CellRow, Comparison, Result
from auditor.errors import AuditorError, CapabilityError, ConfigError, SkippedError, UsageError
from auditor.outcomes import FlipSet
from auditor.runner.assemble import RunSettings, assemble_audit
from auditor.runner.bench import Bench
from auditor.runner.describe import check_validity, environment, target_row
from auditor.runner.execute import OURS_OR_THEIRS, TrainedCache, not_run
from auditor.runner.finished import Finished, said_of
from auditor.runner.observer import Observer
from auditor.runner.plan import PlannedCell, ProbeRequest, plan
from auditor.runner.record import Record
from auditor.runner.running import carried_out
from auditor.statistics.draws import generator
from auditor.stopping import exit_code_of
from auditor.targets.target import DefenseTag, Target


def run_compare(
    target: Target,
    defenses: Sequence[DefenseRequest],
    probes: Sequence[ProbeRequest],
    settings: RunSettings,
    *,
    observer: Observer,
    group: Tensor | None = None,
    record: Record | None = None,
) -> Audit:
    """Fits every defence once per seed, audits each, tries every edit on every arm, and compares.

    Trained models and flip sets are shared between the cells of the run. A defence that cannot be fitted gives rows
    that say why; the others go on.

    Raises:
        ConfigError: the target is defended already.
        UsageError: a defence that was asked for has a parameter that does not fit this target.
    """
    target.need_split()
    if target.defense is not None:
        raise ConfigError(
            f"{target.name} is defended by {target.defense.spec} already; a comparison fits every defence from an "
            'undefended target. Give that one; "auditor run" audits this one as it is.'
        )
    clock = time.perf_counter()
    run = _Run(target, defenses, probes, settings, observer, record or Record(), group)
    order = [(request, seed) for seed in settings.seeds for request in defenses]
    observer.planned([cell for request, seed in order for cell in run.plan(target, request, seed)])
    for request in defenses:  # a parameter that does not fit this target is said before anything is measured
        error = run.fit(request, settings.seeds[0])
        if isinstance(error, UsageError) and not request.control_of:
            raise error
    validity = (*check_validity(target, (request.entry.id for request in probes)), *origin_rows(target))
    interrupted = 0
    try:
        for request, seed in order:
            run.finished.extend(run.audited(request, seed))
        for seed in settings.seeds:
            run.score(seed)
        for seed in settings.seeds:
            run.finished.extend(run.gains(seed))
    except KeyboardInterrupt as stop:
        interrupted = exit_code_of(stop)
    return assemble_audit(
        target_row(target),
        run.finished,
        settings,
        validity=validity,
        planned=len(order) * (len(probes) + 1) if interrupted else len(run.finished),
        named={request.entry.id for request in probes if request.named},
        seconds=time.perf_counter() - clock,
        interrupted=interrupted,
        environment=environment(target.device),
        compare=run.compared,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """One comparison under way: what was asked for, what was made, and the cells that are done."""

    target: Target
    defenses: Sequence[DefenseRequest]
    probes: Sequence[ProbeRequest]
    settings: RunSettings
    observer: Observer
    record: Record
    group: Tensor | None
    arms: Arms = field(default_factory=Arms)
    models: TrainedCache = field(default_factory=TrainedCache)
    finished: list[Finished] = field(default_factory=list)

    def plan(self, target: Target, request: DefenseRequest, seed: int) -> tuple[PlannedCell, ...]:
        """The cells of one arm at one seed, on `target`."""
        settings = self.settings
        return plan(target, self.probes, seeds=(seed,), profile=settings.profile, side=settings.side, arm=request.spec)

    def fit(self, request: DefenseRequest, seed: int) -> AuditorError | None:
        """Fits one defence at one seed, once; what kept it from that, where it is one of our errors."""
        key, failure, arms = (request.spec, seed), None, self.arms
        if key in arms.seconds:
            return None
        start = time.perf_counter()
        try:
            arms.targets[key] = (
                self.target
                if request.defense is None
                else fit_defended(
                    self.target,
                    request.defense,
                    seed=seed,
                    models=self.models,
                    group=self.group,
                    tick=self.observer.tick,
                )
            )
        except (SkippedError, CapabilityError) as reason:
            arms.reasons[key] = ("skipped", str(reason))
        except AuditorError as error:
            arms.reasons[key], failure = ("error", said_of(error)), error
        except OURS_OR_THEIRS as error:  # one defence's crash leaves the others standing
            arms.reasons[key] = ("error", said_of(error))
        arms.seconds[key] = time.perf_counter() - start
        return failure

    def audited(self, request: DefenseRequest, seed: int) -> Iterator[Finished]:
        """The cells of one arm at one seed; where the defence cannot be fitted, the rows say why."""
        key = (request.spec, seed)
        self.fit(request, seed)
        if key not in self.arms.reasons:
            fitted = self.arms.targets[key]
            cells, side = self.plan(fitted, request, seed), self.settings.side
            bench = Bench(fitted, cells, side, models=self.models)
            yield from carried_out(bench, cells, self.observer, self.record)
            return
        status, why = self.arms.reasons[key]
        reason = f"{request.spec} was not fitted: {why}"
        yield from not_run(self.plan(self.target, request, seed), status, reason, self.observer)

    def score(self, seed: int) -> None:
        """Every arm of one seed with every edit that was found on any of them."""
        fitted = {
            request.spec: self.arms.targets[request.spec, seed]
            for request in self.defenses
            if (request.spec, seed) in self.arms.targets
        }
        flips = _distinct([claim for target in fitted.values() for claim in self.models.flips_of(target)])
        for spec, target in fitted.items():
            self.arms.scores[spec, seed] = score_arm(target, flips)

    def gains(self, seed: int) -> list[Finished]:
        """The `gain` cells of one seed: every arm beside its controls and beside no defence."""
        budgets = _budget_names([cell.row for cell in self.finished])
        there = [request for request in self.defenses if (request.spec, seed) in self.arms.scores]
        return [self._gain(request, seed, budgets) for request in there]

    def _gain(self, request: DefenseRequest, seed: int, budgets: Mapping[int, str]) -> Finished:
        start, arms, target = time.perf_counter(), self.arms, self.target
        y, parts = target.graph.y[target.split.test].numpy(), sized_parts(target)
        wanted = controls_of(request, self.defenses)
        controls = [spec for spec in wanted if (spec, seed) in arms.scores]
        names = (*controls, NONE) if request.defense is not None else ()
        own, fitted = arms.scores[request.spec, seed], arms.targets[request.spec, seed]
        tag, judged = fitted.defense, ""
        validity = () if tag is None else tag.validity
        if wanted and wanted[0] in controls:  # against its own control, never against the next best
            judged = _judged(request, tag)
            beside = [arms.targets[spec, seed] for spec in controls]
            validity = (*validity, *control_rows(request, beside, tag, arms, y, parts))
        numbers = gain_measured(
            own,
            {spec: arms.scores[spec, seed] for spec in names if (spec, seed) in arms.scores},
            y,
            budgets,
            generator(seed, PROBE),
            poisoned=poisoned_by(target.graph.name),
            judged=judged,
            parts=parts,
        )
        row = CellRow(
            key=_gain_key(fitted, request.spec, seed, self.settings),
            probe=PROBE,
            family=FAMILY,
            arm=request.spec,
            seed=seed,
            status="ok",
            params={"attacks": {budgets.get(b, str(b)): n for b, n in own.attacks.items()}},
            validity=validity,
            seconds=time.perf_counter() - start,
        )
        by_fit = () if tag is None or request.control_of else tag.measured
        return Finished(row, ("features", "graph", "labels", "weights"), (*numbers, *by_fit))

    def compared(self, results: Sequence[Result]) -> Comparison:
        """The comparison of what is done, from its joined results."""
        y, cells = self.target.graph.y[self.target.split.test], [cell.row for cell in self.finished]
        constant = self.target.task.constant_quality(y)
        compared = Compared(self.defenses, self.arms, cells, results, self.settings.seeds, constant)
        return comparison_of(compared, _left_out(self.probes))


def _judged(request: DefenseRequest, tag: DefenseTag | None) -> str:
    """The finding that the gate looks at: of defences that were asked for and have no Guarantee to be judged by."""
    if request.control_of or tag is None or tag.guarantee is not None:
        return ""
    return FINDING if request.effect is None else request.effect


def _distinct(claims: Sequence[FlipSet]) -> list[FlipSet]:
    """Every flip set once."""
    found: dict[tuple[int, bytes], FlipSet] = {}
    for claim in claims:
        found.setdefault((claim.budget, torch.sort(claim.keys).values.numpy().tobytes()), claim)
    return list(found.values())


def _budget_names(cells: Sequence[CellRow]) -> dict[int, str]:
    """Subset name of each budget in edges, as the robustness cells resolved them."""
    names: dict[int, str] = {}
    for cell in cells:
        if cell.family == "robustness" and isinstance(cell.params.get("budgets"), Mapping):
            names |= {int(edges): str(name) for name, edges in cell.params["budgets"].items()}
    return names


def _gain_key(target: Target, spec: str, seed: int, settings: RunSettings) -> str:
    words = "\0".join((PROBE, target.digest, spec, str(seed), settings.profile))
    return hashlib.sha256(words.encode()).hexdigest()


def _left_out(probes: Sequence[ProbeRequest]) -> tuple[str, ...]:
    """Probes of profile `standard` that this comparison did not run."""
    ran = {request.entry.id for request in probes}
    return tuple(p.id for p in registry.probes().values() if "standard" in p.profiles and p.id not in ran)
