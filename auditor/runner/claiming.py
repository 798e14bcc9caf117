"""Asks about a claimed (epsilon, delta) and writes the answer: the document is written before anything is trained."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from auditor.compare.arms import check_applies, fit_defended
from auditor.defense import Defense, DefenseTask, TrainedModels
from auditor.document import Audit, CellRow, TargetRow, TaskRow
from auditor.document.codes import PowerOnly
from auditor.errors import ConfigError, SkippedError
from auditor.evaluate.dp_claim.claim import Access, Claim, read_claim
from auditor.evaluate.dp_claim.harness import FAMILY, Answer, answered, judged_before, pending, run
from auditor.evaluate.dp_claim.plan import PROBE, Mode, check_registered, make_plan, registered
from auditor.evaluate.dp_claim.question import Question
from auditor.evaluate.dp_claim.runs import Cost, GivenScores, SubjectRuns
from auditor.evaluate.dp_claim.score_file import read_scores
from auditor.evaluate.dp_claim.static import account_of, read_parameters
from auditor.evaluate.dp_claim.subject import Posteriors, Subject, draw_bits
from auditor.evaluate.dp_claim.subjects import of_defense, of_function
from auditor.evaluate.dp_claim.user_function import load_function
from auditor.guarantee import Guarantee
from auditor.mechanism import PrivateDefense
from auditor.parameters import spec_of
from auditor.runner.assemble import RunSettings, assemble_audit
from auditor.runner.describe import environment, target_row
from auditor.runner.finished import Finished
from auditor.statistics.accounting import check_delta
from auditor.stopping import exit_code_of
from auditor.targets.device import CPU
from auditor.targets.target import Target

DEFAULT_CANARIES = 1000
DEFAULT_RUNS = {"one-run": 1, "multi-run": 100}
Tick = Callable[[float | None, str], None]


@dataclass(frozen=True, slots=True)
class Asked:
    """The options of `auditor dp-claim` that say what is claimed and how it is audited.

    Attributes:
        claim: `EPSILON[,DELTA]`.
        level, relation, access: words, None where the mechanism says it.
        canaries: m; None for a default.
        alpha: of the whole audit.
        mode: `one-run` or `multi-run`.
        runs: repeats; None for the mode's default.
        seed: of the first repeat.
    """

    claim: str
    level: str | None = None
    relation: str | None = None
    access: str | None = None
    canaries: int | None = None
    alpha: float = 1e-3
    mode: Mode = "one-run"
    runs: int | None = None
    seed: int = 0

    def read(self, *, allowed: tuple[str, ...]) -> Claim:
        """The claim, its access one of `allowed` (the first by default)."""
        return read_claim(
            self.claim,
            level=self.level,
            relation=self.relation,
            access=self.access or allowed[0],
            allowed=allowed,
        )

    def plan_values(self) -> dict[str, Any]:
        """Arguments of `make_plan` that are the same for every subject."""
        runs = DEFAULT_RUNS[self.mode] if self.runs is None else self.runs
        return {"mode": self.mode, "alpha": self.alpha, "runs": runs, "seed": self.seed}

    @property
    def m(self) -> int:
        """Canaries of one run."""
        return 1 if self.mode == "multi-run" else DEFAULT_CANARIES if self.canaries is None else self.canaries


@dataclass(frozen=True, slots=True)
class Refused:
    """The defence does not apply to the target: nothing is planned, and the row says why."""

    reason: str


def ask_parameters(text: str, asked: Asked) -> tuple[Question, TargetRow]:
    """A claim about `--static` parameters: arithmetic alone.

    Raises:
        ConfigError: a parameter or the claim is malformed or out of range.
    """
    claim = asked.read(allowed=("parameters",))
    if claim.relation == "replace":
        raise ConfigError(
            "--static accounts for a record that is added or removed; --relation replace costs more (up to twice the "
            "sensitivity), and no account of it is offered. Claim add-remove or zero-out, or audit with canaries."
        )
    stated = read_parameters(text)
    account = stated.account(claim.level, claim.delta)
    row = _no_target("parameters", text, claim)
    return Question(claim, row.name, row.digest, account=account, units=stated.units), row


def ask_scores(
    path: Path | None, asked: Asked, prereg: Audit | None, *, power_only: bool
) -> tuple[Question, TargetRow]:
    """A claim about a file of scores; without a file, the registration of one that is still to be made.

    Raises:
        ConfigError: not the registered plan, or options out of range.
        DataError: the file is malformed.
    """
    claim = asked.read(allowed=("scores",))
    if asked.mode != "one-run" or asked.runs not in (None, 1):
        raise ConfigError("--scores is one run of its own: leave out --mode multi-run and --runs.")
    runs = None if path is None else GivenScores(*read_scores(path))
    m = asked.m if runs is None else len(runs.run.scores)
    if asked.canaries not in (None, m):
        raise ConfigError(f"--canaries is {asked.canaries}, {path.name if path else ''} has {m}; leave the option out.")
    plan = make_plan(claim, m=m, score="scores of your own", **asked.plan_values())
    how = "fixed in the document before scores were given" if power_only else None
    if prereg is not None:
        check_registered(plan, registered(prereg))
        how = f"the plan is the one registered on {(prereg.started or 'an unknown day')[:10]}, digest unchanged"
    content = "" if runs is None else runs.digest()
    row = _no_target("scores", path.name if path else "scores to come", claim, content)
    question = Question(claim, row.name, row.digest, plan=plan, runs=runs, registered=how)
    return question, row


def ask_function(target: Target, spec: str, asked: Asked, *, folder: Path, tick: Tick) -> Question:
    """A claim about a training function of the user's own.

    Raises:
        ConfigError: the function cannot be found, or the claim cannot be audited on this target.
    """
    claim = asked.read(allowed=("posteriors",))
    function = load_function(spec, folder)
    subject = of_function(target, claim, m=asked.m, seed=asked.seed, fit=function.fit, takes_noise=function.takes_noise)
    plan = make_plan(
        claim, m=subject.m, shares=subject.shares, score=subject.score, canaries=subject.digest, **asked.plan_values()
    )
    units = _units(target, claim)
    _check_delta(claim, units)
    return Question(
        claim,
        target.name,
        target.digest,
        units=units,
        plan=plan,
        runs=SubjectRuns(subject, tick),
        extra={"train": spec},
    )


def ask_defense(
    target: Target, defense: Defense, asked: Asked, *, models: TrainedModels, tick: Tick
) -> Question | Refused:
    """A claim about a registered defence, whose own planned Guarantee is recomputed first.

    Raises:
        ConfigError: the defence makes no such claim, or the claim cannot be audited.
    """
    if not isinstance(defense, PrivateDefense):
        raise ConfigError(
            f"{defense.id} makes no claim of differential privacy, so that there is none to audit. "
            '"auditor list defenses" shows those of family privacy.'
        )
    try:
        task = DefenseTask(asked.seed, models)
        check_applies(target, defense, task)
        planned = defense.planned(target, task)
    except SkippedError as reason:
        return Refused(str(reason))
    allowed: tuple[str, ...] = tuple(defense.releases)
    if not allowed:
        raise ConfigError(f"{defense.id} lets an audit see nothing; its guarantee is {planned.headline()}.")
    for word, given, own in (("level", asked.level, planned.level), ("relation", asked.relation, planned.relation)):
        if given is not None and given != own:
            raise ConfigError(
                f"--{word} is {given}; {spec_of(defense)} speaks of {own}: {planned.headline()}. Claim "
                "what it promises."
            )
    claim = read_claim(
        asked.claim,
        level=planned.level,
        relation=planned.relation,
        access=asked.access or allowed[0],
        allowed=allowed,
    )
    _check_delta(claim, planned.units)
    question = Question(
        claim,
        target.name,
        target.digest,
        defense=spec_of(defense),
        planned=planned,
        account=account_of(planned, claim.delta),
        units=planned.units,
    )
    if question.account is not None and planned.level == "graph" and target.task.level != "graph":
        # an account of the one graph as a whole: there is no second record that could be put in
        if asked.access or asked.canaries or asked.runs or asked.mode != "one-run":
            raise ConfigError(
                f"{spec_of(defense)} speaks of the whole graph of {target.name}, and there is no other one to put in: "
                "its account is judged alone. Leave out --access, --canaries, --runs and --mode."
            )
        return replace(question, claim=replace(claim, access="parameters"))
    fixed = _at_delta(defense, planned)

    def fit(with_canaries: Target, seed: int, noise_scale: float) -> Target:
        return fit_defended(with_canaries, fixed, seed=seed, models=models, noise_scale=noise_scale)

    subject = of_defense(target, defense, planned, claim, m=asked.m, seed=asked.seed, models=models, fit=fit)
    plan = make_plan(
        claim,
        m=subject.m,
        shares=subject.shares,
        score=subject.score,
        canaries=subject.digest,
        pure=planned.accountant == "pure",
        **asked.plan_values(),
    )
    return replace(
        question,
        plan=plan,
        runs=SubjectRuns(subject, tick),
        audited=_audited(subject, fixed, planned, models),
    )


def _at_delta(defense: PrivateDefense, planned: Guarantee) -> PrivateDefense:
    """The defence with the planned delta in place of `auto`, which would follow the number of canaries."""
    if any(own.name == "delta" for own in fields(defense)):  # type: ignore[arg-type]  # defences are dataclasses
        return replace(defense, delta=planned.delta)  # type: ignore[type-var]
    return defense


def _audited(
    subject: Subject, defense: PrivateDefense, planned: Guarantee, models: TrainedModels
) -> Callable[[int], Guarantee]:
    """Seed -> the Guarantee of the audited run: canaries that are added raise N, and q, σ and T follow from it."""
    if not isinstance(subject, Posteriors) or subject.m == 1:
        return lambda _seed: planned

    def of_seed(seed: int) -> Guarantee:
        grown = subject.canaries.planted(draw_bits(subject.m, seed))
        return defense.planned(grown, DefenseTask(seed, models))

    return of_seed


def run_claim(
    question: Question,
    target: Target | TargetRow,
    settings: RunSettings,
    *,
    write: Callable[[Audit], object],
    notify: Callable[[Cost], object] = lambda _cost: None,
    power_only: bool = False,
    allow_inconclusive: bool = False,
) -> Audit:
    """The audit, in the order of the protocol; `write` gets the document with the pre-registration before any run.

    `notify` gets what the runs will take before the first of them.
    """
    if isinstance(target, Target):
        target.need_split()
    clock = time.perf_counter()
    is_fixed = question.plan is None  # arithmetic alone draws nothing

    def document(answers: Iterable[Answer], *, interrupted: int = 0, only: PowerOnly | None = None) -> Audit:
        return assemble_audit(
            target_row(target) if isinstance(target, Target) else target,
            [Finished(each.row, question.access, each.measured, fixed=is_fixed) for each in answers],
            settings,
            validity=(),
            planned=len(question.seeds),
            named={PROBE},
            seconds=time.perf_counter() - clock,
            interrupted=interrupted,
            environment=environment(target.device if isinstance(target, Target) else CPU),
            allow_inconclusive=allow_inconclusive,
            power=only,
        )

    found, power = judged_before(question)
    if question.plan is not None:
        write(document(pending(question, power, "pre-registered; not run yet")))
        if found is None and question.runs is not None:
            notify(question.runs.cost(question.plan))
    if power_only and (found is None or found.word != "VIOLATED"):
        only = PowerOnly(possible=power is not None and power.possible)
        return document(pending(question, power, "power analysis only: nothing was run, nothing is judged"), only=only)
    if found is not None:
        return document(answered(question, found, power))
    answers: list[Answer] = []
    try:
        for answer in run(question, power):
            answers.append(answer)  # one at a time: an interrupt keeps what is finished
    except KeyboardInterrupt as stop:
        return document(answers, interrupted=exit_code_of(stop))
    return document(answers)


def refused(asked: Asked, defense: Defense, reason: Refused, target: Target, settings: RunSettings) -> Audit:
    """The document of a claim whose defence does not apply: one skipped cell with the reason."""
    spec = spec_of(defense)
    row = CellRow(
        key=hashlib.sha256("\0".join((PROBE, target.digest, spec, asked.claim)).encode()).hexdigest(),
        probe=PROBE,
        family=FAMILY,
        arm=spec,
        seed=asked.seed,
        status="skipped",
        reason=reason.reason,
    )
    how = {"validity": (), "planned": 1, "named": {PROBE}, "seconds": 0.0, "environment": environment(target.device)}
    return assemble_audit(target_row(target), [Finished(row)], settings, **how)  # type: ignore[arg-type]


def _no_target(kind: Access, name: str, claim: Claim, content: str = "") -> TargetRow:
    """What stands where a target would: nothing was loaded, and no size is known; `content` is a digest of what was."""
    words = json.dumps([kind, name, claim.record(), content], sort_keys=True)
    return TargetRow(
        name=name,
        task=TaskRow(level="graph" if claim.level == "graph" else "node"),
        kind=kind,
        digest=hashlib.sha256(words.encode()).hexdigest(),
        capabilities=(),
        nodes=0,
        edges=0,
        graphs=0,
        features=0,
        classes=0,
    )


def _units(target: Target, claim: Claim) -> int:
    """Training graphs, edges or training nodes."""
    return int(target.private_graph.pair_keys().numel()) if claim.level == "edge" else target.split.sizes[0]


def _check_delta(claim: Claim, units: int) -> None:
    if claim.delta > 0:
        check_delta(claim.delta, units)
