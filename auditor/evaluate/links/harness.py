"""The harness of link probes: private edges against non-edges, beside what needs no model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from typing import Annotated, Any, Literal, cast

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from auditor.document import Measured, Series, ValidityRow, check
from auditor.document.exposed import Exposed, gives_away
from auditor.document.facts import Twin
from auditor.errors import ConfigError, EvaluationError, SkippedError
from auditor.evaluate.links.asking import asked_nodes, check_queries, query_rows
from auditor.evaluate.links.controls import Knowledge, Scorer, is_identity, no_model_controls
from auditor.evaluate.links.exposed import exposed_links
from auditor.evaluate.links.measure import comparisons, judged_numbers, link_list, number, roc_series, with_facts
from auditor.evaluate.links.pairs import (
    PairSet,
    Truth,
    balanced_of,
    degree_subsets,
    intra_class_pairs,
    prior_pairs,
    same_component_of,
    uniform_near,
)
from auditor.evaluate.links.paper_protocol import paper_numbers
from auditor.evaluate.links.scorer_check import check_scorer
from auditor.evaluate.links.scoring import (
    AUC,
    AVERAGE_PRECISION,
    LOW_TPR,
    PRECISION,
    PairMetric,
    Reference,
    Scored,
    prepared,
    score_set,
    usable,
)
from auditor.evaluate.links.twins import (
    HARNESS,
    UNTRAINED,
    UNTRAINED_DRAWS,
    Counterfactual,
    architecture_reference,
    counterfactuals,
    run_attack,
    run_rng,
    unasked_control,
    untrained_control,
)
from auditor.parameters import Circumstances, Only, build, parameters
from auditor.probe import Cell, CellResult, Registered
from auditor.shared import content
from auditor.statistics import draws
from auditor.statistics.pair_scores import PairScore
from auditor.targets.target import Capability, Target
from auditor.view import REFERENCE_PAIRS, Access, SideKnowledge, grant_privacy

NEGATIVES = {"quick": 50_000, "standard": 200_000, "full": 1_000_000}
INTRA_NEGATIVES = {"quick": 50_000, "standard": 100_000, "full": 100_000}
REPLICATES = {"quick": 300, "standard": 1000, "full": 1000}
TWINS = {"quick": 1, "standard": 1, "full": 3}
SUBSET_REPLICATES = 100  # rows that are shown and never gated
MIN_NODES = 50
KEPT = 0.25  # share of the edges that a rewired graph may keep
MAIN = (AUC, *LOW_TPR, PRECISION)
ON_PARTS = (AUC, LOW_TPR[-1])
FULL_GRAPH = Only(beside="protocol", being=("full-graph",))


def _too_few_nodes(here: Circumstances) -> str:
    name, nodes = here.target.name, here.target.private_graph.num_nodes
    return f"intervals take {MIN_NODES} nodes, and {name} has {nodes}" if nodes < MIN_NODES else ""


def _no_twins(here: Circumstances) -> str:
    target = here.target
    lacks = Capability.RETRAIN not in target.capabilities or target.recipe is None
    return f"{target.name} cannot be retrained" if lacks and here.values["counterfactuals"] else ""


@parameters
class Settings:
    """Parameters of the harness; None means: by the profile.

    Attributes:
        protocol: `full-graph`, or `paper`: only draws of 10 % of the nodes, all pairs inside, as papers report.
        negatives: non-edges of the main set.
        replicates: node replicates of the bootstrap.
        counterfactuals: rewired graphs per scheme.
        draws: draws of attacked nodes under the paper protocol; one draw is never reported.
        max_queries: nodes that are asked about by an attack that asks; pairs without one of them are left out.
    """

    protocol: Literal["full-graph", "paper"] = "full-graph"
    negatives: Annotated[Annotated[int, Field(ge=100)] | None, FULL_GRAPH] = None
    replicates: Annotated[Annotated[int, Field(ge=50)] | None, FULL_GRAPH, Only(unless=_too_few_nodes)] = None
    counterfactuals: Annotated[Annotated[int, Field(ge=0)] | None, FULL_GRAPH, Only(unless=_no_twins)] = None
    draws: Annotated[int, Field(ge=2), Only(beside="protocol", being=("paper",), always_in="full")] = 10
    max_queries: Annotated[Annotated[int, Field(ge=1)] | None, Only(access=Access.QUERIES), FULL_GRAPH] = None


def evaluate(cell: Cell) -> CellResult:
    """Runs the attack on what it was granted, then asks its scorer about pairs it never saw.

    Raises:
        SkippedError: the task is not `node`, side knowledge the attack needs is not granted, or there are too few
            non-edges.
        EvaluationError: the scorer is asymmetric, depends on the other pairs, or is not finite.
    """
    settings = build(Settings, cell.params, owner=cell.probe.id)
    attack = _attack(cell)
    _check_applies(cell, attack)
    asked = asked_nodes(cell, attack, settings.max_queries)
    truth = Truth.of(cell.target.private_graph)
    knowledge = side_knowledge(cell.target, cell.side, run_rng("view"))
    controls = _controls(cell, knowledge)
    access = tuple(sorted(attack.access))
    if settings.protocol == "paper":
        rows, scorer_row, outcome = paper_numbers(
            cell, attack, truth, controls, draws=settings.draws, judged=True, knowledge=knowledge
        )
        return CellResult(
            access=access,
            measured=tuple(rows),
            validity=(scorer_row, *query_rows(outcome.notes), _truth_row(cell.target)),
            params=_params(cell, attack, knowledge, controls),
        )
    cell.tick(0.05, "attack")
    outcome = run_attack(cell, attack, cell.target, attacked=asked)
    scorer_row = check_scorer(outcome.score, truth.num_nodes, cell.rng("scorer"), probe=cell.probe.id)
    cell.tick(0.2, "controls")
    untrained = untrained_control(cell, attack) if cell.profile != "quick" else None
    unasked = unasked_control(cell, attack, asked)
    controls += [each for each in (untrained, unasked) if each is not None]
    graphs = TWINS[cell.profile] if settings.counterfactuals is None else settings.counterfactuals
    twins = counterfactuals(cell, attack, truth, graphs, first_only=cell.profile == "quick", attacked=asked)
    cell.tick(0.6, "intervals")
    rows, series, pairs, exposed = _measure_all(
        cell, attack, outcome.score, truth, controls, twins, knowledge, settings, asked
    )
    power = _power_row(rows[1], pairs["prior"]["edges"])
    if cell.profile == "full":
        rows += paper_numbers(cell, attack, truth, controls, draws=settings.draws, judged=False, knowledge=knowledge)[0]
    if said := {name: outcome.notes[name] for name in ("queries", "views") if name in outcome.notes}:
        rows = [with_facts(row, **said) for row in rows]
    return CellResult(
        access=access,
        measured=tuple(rows),
        series=(series,),
        validity=(
            scorer_row,
            *query_rows(outcome.notes),
            _truth_row(cell.target),
            *(_twin_row(cell, twin) for twin in twins),
            power,
        ),
        params={
            **_params(cell, attack, knowledge, controls),
            "notes": dict(outcome.notes),
            "counterfactual": {twin.facts.scheme: {"graphs": graphs, **twin.describe()} for twin in twins},
            "pairs": pairs,
        },
        exposed=exposed,
    )


def _measure_all(
    cell: Cell,
    attack: Registered,
    score: PairScore,
    truth: Truth,
    controls: Sequence[Scorer],
    twins: Sequence[Counterfactual],
    knowledge: Knowledge,
    settings: Settings,
    asked: Tensor | None,
) -> tuple[list[Measured], Series, dict[str, dict[str, int]], tuple[Exposed, ...]]:
    """Every set of pairs, scored by the attack and every control on the same replicates of nodes.

    Where the attack asked about some nodes alone, all of them hold pairs with one of these alone.

    Returns:
        the numbers, headroom and AUC of the combined adversary first; ROC curves of the main set; edges and non-edges
        of each set by name; the most exposed edges.
    """
    n = truth.num_nodes
    count = NEGATIVES[cell.profile] if settings.negatives is None else settings.negatives
    replicates = REPLICATES[cell.profile] if settings.replicates is None else settings.replicates
    if n < MIN_NODES:
        replicates = 0
    judged = truth if asked is None else truth.near(asked.numpy())
    shared, about = cell.models.shared, content(judged.keys, judged.ends, n, count)
    prior = shared.once(("prior", about), lambda: prior_pairs(judged, count, run_rng("pairs")))
    compared = knowledge.reference_pairs
    if asked is not None:  # of the other pairs the attack has no score, so that none of them says where one ranks
        compared = torch.from_numpy(uniform_near(judged, REFERENCE_PAIRS, run_rng("view", "near")))
    reference = shared.once(("reference", content(compared)), lambda: Reference(compared))

    def scored(
        pairs: PairSet,
        using: Sequence[Scorer],
        metrics: Sequence[PairMetric],
        times: int,
        together: Sequence[tuple[int, int]] = (),
    ) -> Scored:
        # A generator in the same state each time: all sets share their node replicates.
        rng, memo = run_rng("bootstrap"), cell.models.replicates
        return score_set(pairs, using, metrics, num_nodes=n, rng=rng, replicates=times, together=together, memo=memo)

    def ready(scorer: Scorer, pairs: PairSet) -> Scorer:
        return prepared(scorer, pairs, reference)

    own = ready(Scorer("attack", (score,)), prior)
    beside = [ready(control, prior) for control in controls]
    places = range(1, len(beside) + 1)
    kept = usable(MAIN, prior)
    main = scored(prior, [own, *beside], kept, replicates, [(0, place) for place in places])
    strongest = [main.scorers[place] for place in main.strongest_first[:1]]
    apart: list[tuple[Twin, Scored]] = []
    for twin in twins:
        pairs = twin.pairs(prior, n)
        if twin.scorer is not None and pairs.positives and pairs.negatives:
            using = [own, *strongest, ready(twin.scorer, pairs)]
            together = [(0, 1), (2, 1)] if strongest else []
            # A few pairs fewer than the main set, and every metric of it: what is judged there needs its twin.
            apart.append((twin.facts, scored(pairs, using, kept, replicates, together)))
    against = comparisons(main, apart)
    finding, words = cell.probe.findings[0], knowledge.words
    rows = judged_numbers(against, (AUC, *LOW_TPR), finding=finding, knowledge=words)
    rows[0] = with_facts(rows[0], links=link_list(against[0], n_links=judged.keys.size, n_pairs=judged.num_pairs))
    named = cell.exposed if gives_away(rows) else 0
    exposed = (exposed_links(against[0], finding=finding, count=named),) if named else ()
    ordered = sorted(MAIN, key=lambda metric: metric not in main.metrics)  # what the set is too small for comes last
    row = partial(number, finding=finding, knowledge=words)
    rows += [row(main, metric) for metric in ordered]
    rows += [row(part, AUC, twin=facts) for facts, part in apart]

    y = cell.target.graph.y.numpy()
    even = shared.once(("balanced", about), lambda: balanced_of(prior, run_rng("balanced")))
    most = min(count, INTRA_NEGATIVES[cell.profile])
    key = ("intra-class", about, content(y))
    inside = shared.once(key, lambda: intra_class_pairs(judged, y, most, run_rng("intra-class")))
    parts = [inside, *degree_subsets(prior, truth), same_component_of(prior, truth)]
    shown = [(even, (AUC, AVERAGE_PRECISION)), *((part, ON_PARTS) for part in parts if part is not None)]
    for pairs, metrics in shown:
        found = scored(pairs, [own, *beside], usable(metrics, pairs), min(replicates, SUBSET_REPLICATES))
        rows += [row(found, metric) for metric in found.metrics]
    series = roc_series(against, architecture_reference(cell, attack, asked))
    sizes = {p.subset: {"edges": p.positives, "non_edges": p.negatives} for p in (prior, *(p for p, _ in shown))}
    return rows, series, sizes, exposed


def _controls(cell: Cell, knowledge: Knowledge) -> list[Scorer]:
    """The controls without a model, made once a run."""
    shared, r = cell.models.shared, knowledge.reference_pairs
    key = ("controls", content(knowledge.x, knowledge.y, knowledge.num_classes, r))
    seed = draws.integer(0, HARNESS, "mlp")
    return list(shared.once(key, lambda: no_model_controls(knowledge, seed=seed, shared=shared)))


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


def _attack(cell: Cell) -> Registered:
    if len(cell.attacks) != 1:
        raise EvaluationError(f"{cell.probe.id} has {len(cell.attacks)} attacks; the links harness expects one.")
    return cell.attacks[0]


def _check_applies(cell: Cell, attack: Registered) -> None:
    if cell.target.task.level != "node":
        raise SkippedError("link probes look for edges of one graph; this target classifies many graphs.")
    if Access.LABELS in attack.access and cell.side.labels == "none":
        raise SkippedError(f"{attack.id} needs labels; [access] labels is none.")
    if Access.FEATURES in attack.access and not cell.side.features:
        raise SkippedError(f"{attack.id} needs features; [access] features is false.")
    if Access.QUERIES in attack.access:
        check_queries(cell)
    if Access.OWN_QUERIES in attack.access and not cell.side.asks_own:
        raise SkippedError(
            f"needs answers about graphs of the adversary's own; [access] queries is {cell.side.queries}."
        )
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
    return check(
        "link-truth",
        "warning",
        not (loops or duplicates or one_way),
        f"{int(graph.pair_keys().numel())} undirected edges; left out: {loops} self-loops, "
        f"{duplicates} repeated arcs; {one_way} edges are stored in one direction only",
    )


def _twin_row(cell: Cell, twin: Counterfactual) -> ValidityRow:
    facts = twin.facts
    if twin.scorer is None:
        return check("counterfactual", "warning", None, f"{facts.scheme}: unavailable: {twin.reason}")
    evidence = (
        f"{facts.scheme}: {facts.overlap:.0%} of the edges kept, homophily {facts.homophily:.2f} "
        f"(real {facts.homophily_real:.2f}), accuracy {facts.accuracy:.3f} (real {cell.target.accuracy():.3f})"
    )
    return check("counterfactual", "warning", facts.overlap is not None and facts.overlap <= KEPT, evidence)


def _power_row(main: Measured, positives: int) -> ValidityRow:
    half = main.estimate.half_width
    enough = positives >= 50 and half is not None and half <= 0.1
    shown = "no interval" if half is None else f"half-width of the AUC {half:.3f}"
    return check("power", "warning", enough, f"{positives} edges judged, {shown}")


def _params(cell: Cell, attack: Registered, knowledge: Knowledge, controls: Sequence[Scorer]) -> dict[str, Any]:
    x, method = knowledge.x, cast(Any, attack.attack)
    more: dict[str, Any] = {}
    untrained = next((control for control in controls if control.name == UNTRAINED), None)
    if Access.EXPLANATIONS in attack.access:
        more["explanations"] = cell.side.explained
    if untrained is not None and len(untrained.scores) != UNTRAINED_DRAWS:
        more["untrained"] = f"{len(untrained.scores)} network in place of {UNTRAINED_DRAWS}: the graph is large"
    return {
        "attack": {attack.id: asdict(method)},
        "labels": cell.side.labels,
        "density": "4.0, the default" if cell.side.density is None else f"{cell.side.density}, given by the user",
        "features": "unknown" if x is None else "identity" if is_identity(x) else "known",
        "controls": [control.name for control in controls],
        **more,
    }
