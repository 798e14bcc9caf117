"""The harness of link probes: private edges against non-edges, beside what needs no model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any

import numpy as np

from auditor.audit import Measurement, Series, ValidityRow
from auditor.errors import ConfigError, EvaluationError, SkippedError, nearest
from auditor.evaluate.links import measure
from auditor.evaluate.links.controls import Control, Knowledge, is_identity, no_model_controls
from auditor.evaluate.links.pairs import (
    PairSet,
    Truth,
    balanced_of,
    degree_subsets,
    intra_class_pairs,
    prior_pairs,
    same_component_of,
)
from auditor.evaluate.links.paper_protocol import paper_measurements
from auditor.evaluate.links.scorer_check import check_scorer
from auditor.evaluate.links.twins import (
    Counterfactual,
    architecture_reference,
    counterfactuals,
    describe,
    run_attack,
    sees_private_output,
    shared_rng,
    shared_seed,
    untrained_control,
)
from auditor.probe import Attack, Cell, Result, read_settings
from auditor.statistics.pair_scores import PairScore
from auditor.targets.target import Target
from auditor.view import Access, SideKnowledge, grant_privacy

PROTOCOLS = ("full-graph", "paper")
NEGATIVES = {"quick": 50_000, "standard": 200_000, "full": 1_000_000}
INTRA_NEGATIVES = {"quick": 50_000, "standard": 100_000, "full": 100_000}
REPLICATES = {"quick": 300, "standard": 1000, "full": 1000}
TWINS = {"quick": 0, "standard": 1, "full": 3}
SUBSET_REPLICATES = 300  # rows that are shown and never gated
MIN_NODES = 50
BY_PROFILE = -1


@dataclass(frozen=True, slots=True)
class Settings:
    """Parameters of the harness; -1 means: by the profile.

    Attributes:
        protocol: `full-graph`, or `paper`: only draws of 10 % of the nodes, all pairs inside, as papers report.
        negatives: non-edges of PRIOR.
        replicates: node replicates of the bootstrap.
        counterfactuals: rewired graphs per scheme.
        draws: draws of attacked nodes under the paper protocol.
    """

    protocol: str = "full-graph"
    negatives: int = BY_PROFILE
    replicates: int = BY_PROFILE
    counterfactuals: int = BY_PROFILE
    draws: int = 10

    def __post_init__(self) -> None:
        if self.protocol not in PROTOCOLS:
            raise ConfigError(f'links: protocol is "{self.protocol}". {nearest(self.protocol, PROTOCOLS)}')
        for name, least in (("negatives", 100), ("replicates", 50), ("counterfactuals", 0)):
            number = getattr(self, name)
            if number != BY_PROFILE and number < least:
                raise ConfigError(f"links: {name} is {number}; expected at least {least}.")
        if self.draws < 2:
            raise ConfigError(f"links: draws is {self.draws}; expected at least 2, since one draw is never reported.")


def evaluate(cell: Cell) -> Result:
    """Runs the attack on what it was granted, then asks its scorer about pairs it never saw.

    Raises:
        SkippedError: the task is not `node`, side knowledge the attack needs is not granted, or there are too few
            non-edges.
        EvaluationError: the scorer is asymmetric, depends on the other pairs, or is not finite.
    """
    settings = read_settings(Settings, cell.params, owner=cell.probe.id)
    attack = _attack(cell)
    _check_applies(cell, attack)
    truth = Truth.of(cell.target.private_graph)
    knowledge = side_knowledge(cell.target, cell.side, shared_rng(cell, "view"))
    with_mlp = cell.profile == "full"
    controls = no_model_controls(knowledge, with_mlp=with_mlp, seed=shared_seed(cell, "mlp"))
    if settings.protocol == "paper":
        return _paper_only(cell, attack, truth, controls, knowledge, settings)
    cell.tick(0.05, "attack")
    outcome = run_attack(cell, attack, cell.target)
    scorer_row = check_scorer(outcome.score, truth.num_nodes, cell.rng("scorer"), probe=cell.probe.id)
    cell.tick(0.2, "controls")
    untrained = untrained_control(cell, attack) if cell.profile != "quick" else None
    controls += [] if untrained is None else [untrained]
    graphs = TWINS[cell.profile] if settings.counterfactuals == BY_PROFILE else settings.counterfactuals
    twins = counterfactuals(cell, attack, truth, graphs)
    cell.tick(0.6, "intervals")
    parts = _measure_all(cell, outcome.score, truth, controls, twins, knowledge, settings)
    rows = list(parts.measurements)
    if cell.profile == "full":
        rows += paper_measurements(
            cell, attack, truth, controls, draws=settings.draws, primary=False, knowledge=knowledge.words
        )[0]
    return Result(
        access=tuple(sorted(attack.access)),
        measurements=tuple(rows),
        series=(parts.series,),
        validity=(scorer_row, _truth_row(cell.target), *_twin_rows(cell, twins), _power_row(cell, rows)),
        params=_params(cell, attack, outcome.notes, controls, twins, knowledge, parts.pairs),
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Parts:
    measurements: tuple[Measurement, ...]
    series: Series
    pairs: dict[str, dict[str, int]]


def _measure_all(
    cell: Cell,
    score: PairScore,
    truth: Truth,
    controls: list[Control],
    twins: list[Counterfactual],
    knowledge: Knowledge,
    settings: Settings,
) -> _Parts:
    """Every set of pairs, scored by the attack and every control on the same replicates of nodes."""
    n, finding = truth.num_nodes, cell.probe.findings[0]
    count = NEGATIVES[cell.profile] if settings.negatives == BY_PROFILE else settings.negatives
    replicates = REPLICATES[cell.profile] if settings.replicates == BY_PROFILE else settings.replicates
    if n < MIN_NODES:
        replicates = 0
    prior = prior_pairs(truth, count, shared_rng(cell, "pairs"))

    def scored(pairs: PairSet, using: list[Control], kinds: tuple[measure.MetricKind, ...], times: int) -> Any:
        # A generator in the same state each time: all sets share their node replicates.
        rng, memo = shared_rng(cell, "bootstrap"), cell.models.replicates
        return measure.score_set(pairs, score, using, kinds, num_nodes=n, rng=rng, replicates=times, memo=memo)

    main_kinds = (measure.AUC, *measure.LOW_TPR, measure.PRECISION)
    main: measure.Scored = scored(prior, controls, main_kinds, replicates)
    apart: list[tuple[Counterfactual, measure.Scored]] = []
    for twin in twins:
        pairs = twin.pairs(prior, n)
        if twin.control is not None and pairs.positives and pairs.negatives:
            apart.append((twin, scored(pairs, [twin.control], main_kinds, replicates)))
    extra = {kind.name: _extra(apart, kind) for kind in main_kinds}
    naming = measure.Naming(finding, cell.probe.id, knowledge.words)
    rows = [
        measure.measurement(main, k, extra[kind.name], primary=kind.name in ("auc", "tpr@0.001"), naming=naming)
        for k, kind in enumerate(main.kinds)
    ]
    rows += [measure.needs_more(kind, main, finding=finding) for kind in main_kinds if kind not in main.kinds]
    for twin, part in apart:
        row = measure.measurement(part, 0, [], primary=False, notes=twin.notes, naming=naming)
        rows.append(row.model_copy(update={"name": "auc/counterfactual"}))
    subsets: list[tuple[PairSet, tuple[measure.MetricKind, ...]]] = [
        (balanced_of(prior, shared_rng(cell, "balanced")), (measure.AUC, measure.AVERAGE_PRECISION))
    ]
    y = cell.target.graph.y.numpy()
    inside = intra_class_pairs(truth, y, min(count, INTRA_NEGATIVES[cell.profile]), shared_rng(cell, "intra-class"))
    small = [inside, *degree_subsets(prior, truth), same_component_of(prior, truth)]
    subsets += [(part, (measure.AUC, measure.LOW_TPR[-1])) for part in small if part is not None]
    for pairs, kinds in subsets:
        part = scored(pairs, controls, kinds, min(replicates, SUBSET_REPLICATES))
        rows += [measure.measurement(part, k, [], primary=False, naming=naming) for k in range(len(part.kinds))]
    lines = [(part, 1) for _, part in apart]
    attack = _attack(cell)
    series = measure.roc_series(main, lines, architecture_reference(cell, attack))
    counts = {p.subset: {"edges": p.positives, "non_edges": p.negatives} for p in (prior, *(s for s, _ in subsets))}
    return _Parts(tuple(rows), series, counts)


def _extra(apart: list[tuple[Counterfactual, measure.Scored]], kind: measure.MetricKind) -> list[measure.Comparison]:
    """The counterfactual's comparisons in one metric, made on the pairs that neither graph's edges decide."""
    return [
        comparison
        for _, part in apart
        if kind in part.kinds
        for comparison in measure.compare(part, part.kinds.index(kind))
    ]


def _paper_only(
    cell: Cell, attack: Attack, truth: Truth, controls: list[Control], knowledge: Knowledge, settings: Settings
) -> Result:
    rows, scorer_row = paper_measurements(
        cell, attack, truth, controls, draws=settings.draws, primary=True, knowledge=knowledge.words
    )
    return Result(
        access=tuple(sorted(attack.access)),
        measurements=tuple(rows),
        validity=(scorer_row, _truth_row(cell.target)),
        params=_params(cell, attack, {}, controls, [], knowledge, {}),
    )


def side_knowledge(target: Target, side: SideKnowledge, rng: np.random.Generator) -> Knowledge:
    """What the adversary holds besides the model, and the reference pairs it shares with the attack."""
    words = frozenset({Access.FEATURES} if side.features else ()) | frozenset(
        {Access.LABELS} if side.labels != "none" else ()
    )
    view = grant_privacy(target, words, side, rng)
    return Knowledge(
        x=view.x if Access.FEATURES in words else None,
        y=view.y if Access.LABELS in words else None,
        num_classes=target.num_classes,
        reference_pairs=view.reference_pairs,
    )


def _attack(cell: Cell) -> Attack:
    if len(cell.attacks) != 1:
        raise EvaluationError(f"{cell.probe.id} has {len(cell.attacks)} attacks; the links harness expects one.")
    return cell.attacks[0]


def _check_applies(cell: Cell, attack: Attack) -> None:
    if cell.target.task != "node":
        raise SkippedError("link probes look for edges of one graph; this target classifies many graphs.")
    if Access.LABELS in attack.access and cell.side.labels == "none":
        raise SkippedError(f"{attack.id} needs labels; [access] labels is none.")
    if Access.FEATURES in attack.access and not cell.side.features:
        raise SkippedError(f"{attack.id} needs features; [access] features is false.")
    n, density = cell.target.graph.num_nodes, cell.side.density
    if density is not None and density > n - 1:
        raise ConfigError(f"[access] density is {density}; expected a mean degree of at most N - 1 = {n - 1}.")


def _truth_row(target: Target) -> ValidityRow:
    """What was dropped on the way from arcs to undirected pairs."""
    graph = target.private_graph
    u, v = graph.edge_index
    loops = int((u == v).sum())
    duplicates = graph.num_edges - int(graph.arc_keys().numel())
    one_way = (
        0
        if graph.is_undirected
        else 2 * int(graph.pair_keys().numel()) - int(graph.arc_keys(include_loops=False).numel())
    )
    clean = not (loops or duplicates or one_way)
    return ValidityRow(
        id="link-truth",
        kind="warning",
        status="pass" if clean else "warn",
        evidence=f"{int(graph.pair_keys().numel())} undirected edges; left out: {loops} self-loops, "
        f"{duplicates} repeated arcs; {one_way} edges are stored in one direction only",
        touches=("privacy",),
    )


def _twin_rows(cell: Cell, twins: list[Counterfactual]) -> list[ValidityRow]:
    rows = []
    for twin in twins:
        notes = twin.notes
        if twin.control is None:
            status, evidence = "not_checked", f"{twin.scheme}: {notes['reason']}"
        else:
            status = "pass" if notes["overlap"] <= 0.25 else "warn"
            evidence = (
                f"{twin.scheme}: {notes['overlap']:.0%} of the edges kept, homophily {notes['homophily']:.2f} "
                f"(real {notes['homophily_real']:.2f}), accuracy {notes['accuracy']:.3f} "
                f"(real {cell.target.accuracy():.3f})"
            )
        rows.append(
            ValidityRow(
                id="counterfactual",
                kind="warning",
                status=status,  # type: ignore[arg-type]
                evidence=evidence,
                touches=(cell.probe.id,),
            )
        )
    return rows


def _power_row(cell: Cell, rows: list[Measurement]) -> ValidityRow:
    main = rows[0]
    positives = int(main.notes["positives"])
    half = None
    if main.ci is not None and main.ci.lo is not None and main.ci.hi is not None:
        half = (main.ci.hi - main.ci.lo) / 2
    enough = positives >= 50 and half is not None and half <= 0.1
    shown = "no interval" if half is None else f"half-width of the AUC {half:.3f}"
    return ValidityRow(
        id="power",
        kind="warning",
        status="pass" if enough else "warn",
        evidence=f"{positives} edges judged, {shown}",
        touches=(cell.probe.id,),
    )


def _params(
    cell: Cell,
    attack: Attack,
    notes: Mapping[str, Any],
    controls: list[Control],
    twins: list[Counterfactual],
    knowledge: Knowledge,
    pairs: dict[str, dict[str, int]],
) -> dict[str, Any]:
    density = "4.0, the default" if cell.side.density is None else f"{cell.side.density}, given by the user"
    identity = knowledge.x is not None and is_identity(knowledge.x)
    return {
        "attack": {attack.id: _fields(attack)},
        "notes": dict(notes),
        "labels": cell.side.labels,
        "density": density,
        "features": "identity: they name the node and tell nothing else" if identity else knowledge.words,
        "controls": [control.name for control in controls],
        "counterfactual": describe(twins),
        "untrained": "not a control here: this attack reads answers on the private graph"
        if sees_private_output(attack)
        else "runs where the target can be rebuilt, from the standard profile on",
        "pairs": pairs,
    }


def _fields(attack: Any) -> dict[str, Any]:
    return asdict(attack) if is_dataclass(attack) and not isinstance(attack, type) else {}
