"""Harness of prototype-ood: do distances to typical training graphs tell strange graphs better than their sizes do?

A distance between graphs grows with what tells them apart, and that is often their size: so beside it stands a detector
that knows sizes and averages alone. What the structure adds is the difference, on the same graphs. Nothing is judged:
the numbers say which alarm to build. Test items are compared and never training items, which are their own prototypes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field

from auditor.data.graph import Graph
from auditor.document import Control, Measured, Metric, measured
from auditor.document.facts import Prototypical
from auditor.errors import EvaluationError, SkippedError
from auditor.evaluate.shift.claims import check_made, claims_row
from auditor.evaluate.shift.detection import Halves, chance, never_flat
from auditor.evaluate.shift.domains import Domain, domain_of
from auditor.evaluate.shift.domains import Settings as Held
from auditor.evaluate.shift.graph_distance import MOST_POINTS, Space, check_transport, features_of, spaces
from auditor.evaluate.shift.noticing import SAME_DATA
from auditor.evaluate.shift.prototypes import Prototypes, SizeDetector, find_prototypes
from auditor.evaluate.shift.reference import HARNESS, MIN_ITEMS, Reference, inference_graph, within
from auditor.outcomes import ShiftedSet, ShiftOutcome
from auditor.parameters import build, meant_for, parameters
from auditor.probe import Cell, CellResult
from auditor.registry import lack_of
from auditor.shared import content
from auditor.statistics import draws
from auditor.statistics.clustered import Resamples, hull, newcombe, percentile
from auditor.statistics.detection import aupr, auroc, auroc_replicates, fpr95
from auditor.targets.target import Capability, Target
from auditor.view import grant_graph

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
METRIC = Metric("prototype_auroc", "auc", "lower")
FINDING, SIZES = "shift-prototypes-no-benefit", "sizes-and-averages"
REPLICATES = 1000


@parameters
class Settings(Held):
    """Parameters of the harness, beside those that say what was held out.

    Attributes:
        space: whether nodes are compared by their features (`input`, no model is involved) or by the model's embeddings
            of them.
        pool: training graphs of each class that prototypes are chosen from.
        prototypes: of each class.
        graphs: most graphs of each set, drawn at random.
    """

    space: Literal["input", "embedding"] = "input"
    pool: Annotated[int, Field(ge=2)] = 64
    prototypes: Annotated[int, Field(ge=1)] = 4
    graphs: Annotated[int, Field(ge=MIN_ITEMS)] = 200


@dataclass(frozen=True, slots=True, eq=False)
class _Scores:
    """Of some graphs: by distance to prototypes, and by sizes and averages; float64 [n] each."""

    typical: Floats
    sizes: Floats


@dataclass(frozen=True, slots=True, eq=False)
class _Fitted:
    """What is known of the training graphs, and in which space."""

    space: Literal["input", "embedding"]
    prototypes: Prototypes
    sizes: SizeDetector

    def scores(self, target: Target, graph: Graph, positions: Ints, *, rng: np.random.Generator) -> _Scores:
        """Of some of the graphs in `graph`, int64 [m]; the target's embeddings are asked for in that space alone."""
        points = _points(target, graph, self.space)
        many: list[Space] = spaces(graph, positions, points, rng=rng)
        return _Scores(self.prototypes.scores(many), self.sizes.scores(graph, positions, features_of(graph)))


def check_held(target: Target, params: Mapping[str, str], owner: str) -> None:
    """Whether what the user named can be held out, before anything runs.

    Raises:
        ConfigError: see `domain_of`.
    """
    settings = build(Settings, meant_for(Settings, params), owner=owner)  # `sets` is the attack's
    try:
        domain_of(target, settings)
    except SkippedError:
        return  # the parameters of the cell say why


def evaluate(cell: Cell) -> CellResult:
    """Finds prototypes among the training graphs, and scores test graphs, graphs made anew, and held-out ones.

    Raises:
        SkippedError: POT is not installed, embeddings are asked for and there are none of nodes, features are ids,
            there are too few test graphs, or nothing to compare them with.
        ConfigError: what was named cannot be held out, see `domain_of`.
        EvaluationError: the probe has not exactly one attack, or a set is not what it claims to be.
    """
    settings = build(Settings, cell.params, owner=cell.probe.id)
    if len(cell.attacks) != 1:
        raise EvaluationError(f"{cell.probe.id} has {len(cell.attacks)} attacks; this harness expects one.")
    (attack,) = cell.attacks
    target = cell.target
    check_transport()
    _check_space(target, settings.space)
    reference = Reference.of(cell)
    fitted = _fitted(cell, settings)
    skipped: dict[str, str] = {}
    domain = _domain(target, settings, skipped)
    tested = reference.items.numpy()
    inside = np.arange(len(tested)) if domain is None else np.flatnonzero(np.isin(tested, domain.inside.numpy()))
    own = _some(inside, settings.graphs, rng=draws.generator(0, HARNESS, "prototypes", "test"))
    key = ("test", *_shared_by(target, settings))
    points = draws.generator(0, HARNESS, "prototypes", "points")
    clean = cell.models.shared.once(key, lambda: fitted.scores(target, reference.graph, own, rng=points))
    halves = Halves.of_scores(clean.typical, rng=cell.rng("halves"), score="prototype")
    resamples = Resamples.draw(np.arange(len(own)), rng=cell.rng("resamples"), replicates=REPLICATES)
    rows: list[Measured] = []
    view = grant_graph(target, attack.access, with_test_labels=False, side=cell.side)
    outcome = attack.run(view, cell.attempt(attack))
    if not isinstance(outcome, ShiftOutcome):
        raise EvaluationError(f"{attack.id} returned {type(outcome).__name__}; a shift probe returns a ShiftOutcome.")
    skipped |= outcome.skipped
    checked = 0
    for shifted in outcome.sets:
        check_made(reference, shifted)
        checked += 1
        other = _scored(cell, settings, fitted, shifted, own)
        rows.append(_row(shifted.name, "made", fitted, clean, other, resamples, resamples, halves))
    if domain is not None:
        rows.append(_held_out(cell, settings, fitted, domain, clean, halves))
    if not rows:
        raise SkippedError("; ".join(f"{name}: {reason}" for name, reason in skipped.items()))
    assert reference.graph.batch is not None
    sizes = torch.bincount(reference.graph.batch).numpy()[own]
    return CellResult(
        access=tuple(sorted({*(word.value for word in attack.access), "labels", *_held(settings.space)})),
        measured=tuple(rows),
        validity=(*reference.rows(), halves.row(), claims_row(checked)),
        params={
            "space": settings.space,
            "prototypes": fitted.prototypes.ids.tolist(),
            "spread": fitted.prototypes.spread.tolist(),
            "feature_scale": fitted.prototypes.scale,
            "pool": {str(c): n for c, n in fitted.prototypes.pool.items()},
            "graphs": len(own),
            "sampled": int((sizes > MOST_POINTS).sum()),
            "skipped": skipped,
            "replicates": REPLICATES,
        },
    )


def _held(space: str) -> tuple[str, ...]:
    return ("embeddings",) if space == "embedding" else ()


def _check_space(target: Target, space: str) -> None:
    if space == "embedding":
        if Capability.EMBEDDINGS not in target.capabilities:
            raise SkippedError(f"needs {lack_of(Capability.EMBEDDINGS)}", lacks=(str(Capability.EMBEDDINGS),))
    elif target.graph.whole_x:
        raise SkippedError(
            "the features are whole numbers, ids or categories: distances between them say nothing; space=embedding "
            "compares what the model makes of them"
        )


def _points(target: Target, graph: Graph, space: str) -> Floats:
    """What nodes are compared by, [N, d].

    Raises:
        SkippedError: the model's embeddings are of graphs and not of nodes.
    """
    if space == "input":
        return features_of(graph)
    with torch.no_grad():
        z = target.handle().embeddings(graph.x, graph.edge_index, graph.edge_weight, graph.batch, graph.fields)
    if len(z) != graph.num_nodes:
        raise SkippedError(
            f"the embedding layer gives {len(z)} rows for {graph.num_nodes} nodes; distances need one a node: name an "
            "earlier layer in [target] embedding_layer, or use space=input"
        )
    found: Floats = torch.nan_to_num(z.double()).numpy()
    return found


def _fitted(cell: Cell, settings: Settings) -> _Fitted:
    """Prototypes and the detector of sizes; one for all seeds, since they are of the training graphs alone."""
    target, graph = cell.target, cell.target.graph
    train = torch.nonzero(target.split.train & graph.labelled).flatten().numpy()

    def fit() -> _Fitted:
        found = find_prototypes(
            graph,
            train,
            _points(target, graph, settings.space),
            pool=settings.pool,
            count=settings.prototypes,
            rng=draws.generator(0, HARNESS, "prototypes"),
            tick=lambda done: cell.tick(done, "distances between training graphs"),
        )
        return _Fitted(settings.space, found, SizeDetector.fit(graph, train, features_of(graph)))

    return cell.models.shared.once(("prototypes", *_shared_by(target, settings)), fit)


def _shared_by(target: Target, settings: Settings) -> tuple[object, ...]:
    """What distances depend on: without a model, data and split alone, so that all arms of a comparison share them."""
    split, model = target.split, target.digest if settings.space == "embedding" else ""
    return HARNESS, settings, model, target.graph.digest(), content(split.train, split.val, split.test)


def _domain(target: Target, settings: Settings, skipped: dict[str, str]) -> Domain | None:
    """What was held out; None, and why, where nothing was or too little: test graphs are then all of them."""
    try:
        return domain_of(target, settings)
    except SkippedError as error:
        skipped["held out"] = str(error)
        return None


def _scored(cell: Cell, settings: Settings, fitted: _Fitted, shifted: ShiftedSet, own: Ints) -> _Scores:
    """Scores of graphs that were made anew; of equal ones once."""
    graph = shifted.graph
    assert graph is not None
    key = (shifted.name, cell.seed, content(graph.edge_index, graph.x), *_shared_by(cell.target, settings))
    rng = cell.rng("points", shifted.name)
    return cell.models.shared.once(key, lambda: fitted.scores(cell.target, graph, own, rng=rng))


def _held_out(
    cell: Cell, settings: Settings, fitted: _Fitted, domain: Domain, clean: _Scores, halves: Halves
) -> Measured:
    """The held-out graphs, beside test graphs that are none of them."""
    rng = draws.generator(0, HARNESS, "prototypes", "held out")
    items = torch.from_numpy(_some(domain.items.numpy(), settings.graphs, rng=rng))
    key = ("held out", *_shared_by(cell.target, settings))
    graph = inference_graph(domain.graph, items)
    other = cell.models.shared.once(key, lambda: fitted.scores(cell.target, graph, np.arange(len(items)), rng=rng))
    inside, outside = (
        Resamples.draw(np.arange(n), rng=cell.rng("resamples", side), replicates=REPLICATES)
        for side, n in (("inside", len(clean.typical)), ("held out", len(items)))
    )
    return _row(domain.name, "held-out", fitted, clean, other, inside, outside, halves)


def _some(ids: Ints, most: int, *, rng: np.random.Generator) -> Ints:
    """At most so many of them, ascending."""
    return np.sort(rng.choice(ids, most, replace=False)) if len(ids) > most else np.sort(ids)


def _row(
    name: str,
    how: Literal["made", "held-out"],
    fitted: _Fitted,
    clean: _Scores,
    other: _Scores,
    inside: Resamples,
    outside: Resamples,
    halves: Halves,
) -> Measured:
    """AUROC by prototypes, beside that by sizes and averages on the same graphs."""
    n, m = len(clean.typical), len(other.typical)
    values, ends, replicates = [], [], []
    for own, others in ((clean.typical, other.typical), (clean.sizes, other.sizes)):
        values.append(auroc(own, others))
        replicates.append(auroc_replicates(own, others, inside.item_weights(), outside.item_weights()))
        ends.append(never_flat(percentile(replicates[-1]), values[-1], min(n, m)))
    typical, sizes = (within(value, bounds, m) for value, bounds in zip(values, ends, strict=True))
    more = values[0] - values[1]
    bounds = hull(percentile(replicates[0] - replicates[1]), (more, more))
    if bounds[0] == bounds[1]:  # both tell all or none of them: as wide as either end allows
        bounds = newcombe(values[0], ends[0], values[1], ends[1])
    return measured(
        METRIC,
        typical,
        finding=FINDING,
        subset=name,
        controls=(
            Control(name=SIZES, estimate=sizes, contrast=within(more, bounds, m)),
            chance(typical),
            Control(name=SAME_DATA, estimate=within(halves.value, halves.bounds, n)),
        ),
        against=SIZES,
        facts=Prototypical(
            made=name,
            how=how,
            space=fitted.space,
            prototypes=len(fitted.prototypes.ids),
            aupr=aupr(clean.typical, other.typical),
            aupr_chance=n / (n + m),
            fpr95=fpr95(clean.typical, other.typical),
        ),
    )
