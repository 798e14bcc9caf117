"""The audit document: one JSON file with a published schema; every report is a rendering of it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, Literal

from pydantic import Field

from auditor.document.codes import DecisionCode, VerdictCode
from auditor.document.exposed import Exposed
from auditor.document.results import Result, Unit, WorseWhen
from auditor.guarantee import Guarantee
from auditor.records import Model, Number
from auditor.statistics.estimate import Estimate

SCHEMA_VERSION = "2.0"
NONE = "none"
RECIPE = "recipe"
"""Arms that no defence makes: the target as it is, and models that its own recipe trained anew, one a seed."""
"""The arm of a target as it is, and the defence of one that has none."""

Kind = Literal["integrity", "strength", "warning"]
CheckStatus = Literal["pass", "warn", "fail", "not_checked"]
CellStatus = Literal["ok", "skipped", "error", "timeout"]


class Curve(Model):
    """One line of a chart: points x, y, and a band lo, hi where there is one."""

    name: str
    role: Literal["value", "control", "reference", "worst"] = "value"
    x: tuple[Number, ...]
    y: tuple[Number, ...]
    lo: tuple[Number, ...] = ()
    hi: tuple[Number, ...] = ()
    labels: tuple[str, ...] = ()


class Series(Model):
    """The data of one chart; reports draw it, nothing is computed there."""

    id: str
    kind: Literal["roc", "budget", "strata", "reliability", "severity"]
    title: str
    x_label: str
    y_label: str
    curves: tuple[Curve, ...]


class ValidityRow(Model):
    """Whether the audit could be trusted here.

    Attributes:
        id: kebab-case.
        kind: of a failed row of kind `integrity` neither a pass nor a fail can be believed; of kind `strength` no pass;
            a `warning` lowers confidence.
        status: `not_checked` says so and is no pass.
        evidence: what was seen; a cause only where it was established.
        touches: probes whose results it spoils when it fails; None: all of them. A row of a cell touches that cell.
        holding: a word of the access: of a row of a cell, it spoils only what an adversary found who holds this. Empty
            for all results of the cell.
        noise_floor: share of the items whose label changes with the order of the nodes alone; None where none does.
    """

    id: str
    kind: Kind
    status: CheckStatus
    evidence: str
    touches: tuple[str, ...] | None = None
    holding: str = ""
    noise_floor: Number = None

    def bears_on(self, probe: str) -> bool:
        """Whether it spoils results of a probe (`id` or `id:key=value`) when it fails."""
        return self.touches is None or probe.partition(":")[0] in self.touches

    def spoils(self, access: Collection[str]) -> bool:
        """Whether a row of a cell spoils, when it fails, what somebody found there who holds `access`."""
        return not self.holding or self.holding in access


def check(id_: str, kind: Kind, holds: bool | CheckStatus | None, evidence: str, *, holding: str = "") -> ValidityRow:
    """The one way to make a validity row.

    Args:
        id_: kebab-case.
        kind: see `ValidityRow`.
        holds: a status word; or True for a pass, False for a fail (a warning warns), None for not checked.
        evidence: what was seen.
        holding: see `ValidityRow`.
    """
    if holds is None:
        status: CheckStatus = "not_checked"
    elif isinstance(holds, str):
        status = holds
    else:
        status = "pass" if holds else "warn" if kind == "warning" else "fail"
    return ValidityRow(id=id_, kind=kind, status=status, evidence=evidence, holding=holding)


class CellRow(Model):
    """One (target, arm, probe, seed): how it ended, and what came out besides numbers.

    Attributes:
        key: digest of everything that identifies it; serves resuming.
        probe: the probe with its parameters.
        lacks: what the target does not offer and the probe needs, where that is why it was skipped.
        params: resolved settings as plain values.
        validity: checks that touch this cell's results alone.
        exposed: edges and training items as indices, where they were asked for. They stand here and in no result, so
            that no format that is made of results alone can carry them.
    """

    key: str
    probe: str
    family: str
    arm: str = "none"
    seed: int
    status: CellStatus
    reason: str = ""
    lacks: tuple[str, ...] = ()
    seconds: float = 0.0
    peak_rss_mb: float | None = None
    params: dict[str, Any] = Field(default_factory=dict)
    series: tuple[Series, ...] = ()
    validity: tuple[ValidityRow, ...] = ()
    exposed: tuple[Exposed, ...] = ()


class TaskRow(Model):
    """What is predicted: the words of PyG's `ModelConfig`."""

    level: Literal["node", "edge", "graph"]
    mode: Literal["multiclass", "binary", "regression"] = "multiclass"


class TargetRow(Model):
    """What was audited; `defense` is the spec of what defended it before it came here, `guarantee` its promise.

    `verified` says whether reference answers or a claimed accuracy show that it is the model that was trained;
    `fixed_nodes` which of its tensors have a row per node, so that it knows the nodes of this graph only.
    """

    name: str
    task: TaskRow
    kind: str
    digest: str
    capabilities: tuple[str, ...]
    nodes: int
    edges: int
    graphs: int
    features: int
    classes: int
    defense: str = "none"
    guarantee: Guarantee | None = None
    split: dict[str, Any] = Field(default_factory=dict)
    verified: bool = True
    fixed_nodes: tuple[str, ...] = ()
    clean: Estimate | None = None
    constant_predictor: Number = None
    provenance: dict[str, Any] = Field(default_factory=dict)


class Coverage(Model):
    """How much of the plan was carried out."""

    planned: int
    ok: int
    skipped: int
    error: int
    timeout: int


class Verdict(Model):
    """The one answer at the end; `codes` say why.

    `counts` has judged results by status, and how many do not count (`untrusted`). Those on controls of a comparison
    are left out; `on_controls` says how many of them fail.
    """

    status: Literal["PASSED", "FAILED", "INCOMPLETE"]
    exit_code: int
    fail_on: str
    policy: str = "standard"
    inconclusive: Literal["report", "incomplete", "fail"] = "report"
    counts: dict[str, int] = Field(default_factory=dict)
    codes: tuple[VerdictCode, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether every planned cell ran and nothing fails."""
        return self.status == "PASSED"


class Difference(Model):
    """A paired difference of one arm to another: own − other, in the number's own unit.

    Attributes:
        to: the other arm.
        estimate: Student's t interval over seeds; none with one seed. Where both arms come from one trained model,
            seeds are no new trainings: there it is the paired interval over test items.
        by_seed: own − other at every seed that both have.
        judged: false where the difference holds more than the defence's own idea.
        mark: `better` or `worse` where a judged difference is proven over enough seeds.
    """

    to: str
    estimate: Estimate
    by_seed: tuple[float, ...] = ()
    judged: bool = True
    mark: Literal["better", "worse", ""] = ""


class Headline(Model):
    """One number of one arm that stands in the matrix.

    Attributes:
        family, probe, metric, subset, unit: what it is; `probe` is empty for what the comparison itself measures.
        shown: the number itself, or its excess over its control.
        worse_when: direction of what is shown.
        estimate: joined over seeds.
        by_seed: at each seed of the comparison, null where it is missing.
        differences: to `none` and to its own controls.
    """

    family: str
    probe: str = ""
    metric: str
    subset: str = ""
    unit: Unit
    shown: Literal["value", "excess"]
    worse_when: WorseWhen
    estimate: Estimate
    by_seed: tuple[Number, ...] = ()
    differences: tuple[Difference, ...] = ()


class Decision(Model):
    """What may be said of a defence in one respect, decided from numbers alone.

    Attributes:
        about: `accuracy`, `poisoned-accuracy`, `balanced-accuracy`, `robustness`, `links`, `utility` or `recovery`.
        probe: whose headline was judged; empty for what the comparison itself measures.
        subset: which budget or set of items.
        to: the control that it is judged against.
        estimate: the difference own − control that was judged; None where there is none.
        status: the word.
        codes: why.
    """

    about: Literal["accuracy", "poisoned-accuracy", "balanced-accuracy", "robustness", "links", "utility", "recovery"]
    probe: str = ""
    subset: str = ""
    to: str = ""
    estimate: Estimate | None = None
    status: Literal["helps", "hurts", "not-shown", "not-settled", "not-compared"]
    codes: tuple[DecisionCode, ...] = ()


class Arm(Model):
    """One row of a comparison: the target under one defence or control.

    Attributes:
        arm: its spec; `none` for the target as it is.
        control_of: the defence that brought it along; empty for one that was asked for.
        headlines: its numbers.
        decisions: what may be said of it; none for a control.
        seconds: of one fit.
        pareto: whether no other arm is better in every headline at once.
        guarantee: its formal promise.
        notes: what the fit recorded, as plain values.
        reason: why it could not be fitted, at all or at some seed.
    """

    arm: str
    control_of: str = ""
    headlines: tuple[Headline, ...] = ()
    decisions: tuple[Decision, ...] = ()
    seconds: float | None = None
    pareto: bool = False
    guarantee: Guarantee | None = None
    notes: dict[str, Any] = Field(default_factory=dict)
    reason: str = ""


class Comparison(Model):
    """The target undefended and under each defence; `left_out` are probes that this profile did not run."""

    arms: tuple[Arm, ...]
    seeds: tuple[int, ...]
    left_out: tuple[str, ...] = ()

    @property
    def controls(self) -> frozenset[str]:
        """Arms that a defence brought along: what fails on them is shown, and decides nothing."""
        return frozenset(arm.arm for arm in self.arms if arm.control_of)


class Audit(Model):
    """The whole document.

    Attributes:
        plan: sha256 of the keys of all planned cells, so that none can be left out; empty where not all are known.
        config_file: the config file that was read, relative to the working directory; empty without one.
        digest: sha256 of everything that an equal run reproduces.
    """

    schema_version: str = SCHEMA_VERSION
    tool: dict[str, str]
    environment: dict[str, Any]
    seeds: tuple[int, ...]
    profile: str
    config: dict[str, Any]
    config_file: str = ""
    argv: tuple[str, ...] = ()
    started: str | None = None
    seconds: float | None = None
    target: TargetRow
    validity: tuple[ValidityRow, ...]
    cells: tuple[CellRow, ...]
    results: tuple[Result, ...]
    comparison: Comparison | None = None
    coverage: Coverage
    plan: str = ""
    verdict: Verdict
    digest: str = ""

    @property
    def judged(self) -> Iterator[Result]:
        """Results that the policy judges."""
        return (result for result in self.results if result.judged)
