"""Harness of ood-detection: do the model's scores tell data that is unlike its own from test items?

The data is made up and has no labels, so that no accuracy is measured. Beside every score stands what is visible
without a model: the best statistic of the inputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from auditor.data.graph import Graph
from auditor.document import Control, Estimate, Measured, Metric, measured
from auditor.document.facts import Unlike
from auditor.errors import EvaluationError, SkippedError
from auditor.evaluate.shift.blocks import MIN_BLOCKS, grown_regions
from auditor.evaluate.shift.claims import check_made, claims_row
from auditor.evaluate.shift.detection import MSP_AUROC, Halves, chance, never_flat
from auditor.evaluate.shift.embedded import Known, embedded
from auditor.evaluate.shift.inputs import best_statistic, statistics
from auditor.evaluate.shift.noticing import SAME_DATA
from auditor.evaluate.shift.reference import Reference, all_blocks, within
from auditor.evaluate.shift.strata import homophily
from auditor.evaluate.shift.unlike_scores import scores_of
from auditor.outcomes import ShiftedSet, ShiftOutcome
from auditor.parameters import Only, build, parameters
from auditor.probe import Cell, CellResult
from auditor.statistics.clustered import Resamples, percentile
from auditor.statistics.detection import aupr, auroc, auroc_replicates, fpr95
from auditor.targets.target import Capability
from auditor.view import grant_graph

Floats = NDArray[np.float64]
FINDING = "shift-ood-unnoticed"
REPLICATES = 1000


@parameters
class Settings:
    """Parameters of the harness.

    Attributes:
        isolated: what propagation does to a node without neighbours: `keep` its score, or `decay` it as was published.
    """

    isolated: Annotated[Literal["keep", "decay"], Only(level="node")] = "keep"


@dataclass(slots=True, eq=False)
class _Made:
    """All draws of one set: scores and statistics of its items in each, and their blocks in the first.

    Attributes:
        shares: whether its items are resampled with the test items: the same graph, or the same graphs.
    """

    name: str
    edits: str
    shares: bool
    graph: Graph
    scores: list[dict[str, Floats]] = field(default_factory=list)
    inputs: list[dict[str, Floats]] = field(default_factory=list)
    notes: dict[str, float] = field(default_factory=dict)


def evaluate(cell: Cell) -> CellResult:
    """Makes the sets, scores their items and the test items, and measures how well each score tells them apart.

    Raises:
        SkippedError: the model serves classes alone, too few test items, or no set can be made.
        EvaluationError: the probe has not exactly one attack, or a set is not what it claims to be.
    """
    settings = build(Settings, cell.params, owner=cell.probe.id)
    if len(cell.attacks) != 1:
        raise EvaluationError(f"{cell.probe.id} has {len(cell.attacks)} attacks; this harness expects one.")
    (attack,) = cell.attacks
    target = cell.target
    reference = Reference.of(cell)
    if not reference.has_posteriors:
        raise SkippedError("every answer about the test items is no number; nothing can be scored")
    known, missing = embedded(target)
    view = grant_graph(target, attack.access, with_test_labels=False, side=cell.side)
    outcome = attack.run(view, cell.attempt(attack))
    if not isinstance(outcome, ShiftOutcome):
        raise EvaluationError(f"{attack.id} returned {type(outcome).__name__}; a shift probe returns a ShiftOutcome.")
    rows = reference.items if reference.graph.batch is None else torch.arange(len(reference.items))
    clean = _scores(cell, reference.graph, known, rows, settings.isolated)
    inputs = {name: each[rows.numpy()] for name, each in statistics(reference.graph).items()}
    made, checked = _made(cell, reference, outcome, known, settings.isolated)
    if not made:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in outcome.skipped.items())
        raise SkippedError(f"no set can be made here: {reasons}")
    halves = Halves.of(reference, rng=cell.rng("halves"))
    measure = _Measure(cell, reference, clean, inputs, halves, settings.isolated)
    numbers = [row for each in made for row in measure.rows(each)]
    return CellResult(
        access=tuple(sorted({*(word.value for word in attack.access), "posteriors"})),
        measured=tuple(numbers),
        validity=(*reference.rows(), halves.row(), claims_row(checked)),
        params={
            "skipped": dict(outcome.skipped),
            "missing": missing,
            "draws": outcome.notes.get("draws"),
            "isolated": settings.isolated,
            "edge_homophily": _edge_homophily(target.graph),
            "notes": {each.name: each.notes for each in made if each.notes},
            "replicates": REPLICATES,
        },
    )


def _made(
    cell: Cell, reference: Reference, outcome: ShiftOutcome, known: Known | None, isolated: str
) -> tuple[list[_Made], int]:
    """Every set, scored; and how many graphs were checked."""
    found: dict[str, _Made] = {}
    checked = 0
    for shifted in outcome.sets:
        check_made(reference, shifted)
        checked += 1
        graph = shifted.graph
        assert graph is not None
        many = graph.batch is not None
        own = found.setdefault(
            shifted.name, _Made(shifted.name, shifted.edits, many or shifted.edits == "features", graph)
        )
        rows = torch.arange(len(shifted.items)) if many else shifted.items
        own.scores.append(_scores(cell, graph, known, rows, isolated, shifted))
        own.inputs.append(statistics(graph))
        own.notes |= {key: float(value) for key, value in shifted.notes.items()}
    return list(found.values()), checked


def _scores(
    cell: Cell,
    graph: Graph,
    known: Known | None,
    rows: Tensor,
    isolated: str,
    shifted: ShiftedSet | None = None,
) -> dict[str, Floats]:
    """Every score of the items in `rows` of what the model answers on `graph`."""
    target = cell.target
    ids = None if shifted is None else shifted.node_ids
    handle = target.handle() if ids is None else target.with_nodes(ids)
    has_logits = Capability.LOGITS in target.capabilities
    found = scores_of(handle, graph, known, has_logits=has_logits, isolated=isolated)
    return {name: score[rows].numpy() for name, score in found.items()}


@dataclass(frozen=True, slots=True, eq=False)
class _Measure:
    """What every set is measured against.

    Attributes:
        clean: scores of the test items.
        inputs: statistics of the test items.
    """

    cell: Cell
    reference: Reference
    clean: Mapping[str, Floats]
    inputs: Mapping[str, Floats]
    halves: Halves
    isolated: str

    def rows(self, made: _Made) -> list[Measured]:
        """AUROC of every score on one set; that of the largest posterior is judged."""
        names = [name for name in self.clean if all(name in each for each in made.scores)]
        points = {name: float(np.mean([auroc(self.clean[name], each[name]) for each in made.scores])) for name in names}
        statistic, visible = best_statistic(self.inputs, made.inputs)
        inside, outside = self._resamples(made)
        picks = self.cell.rng("picks", made.name).integers(0, len(made.scores), REPLICATES)
        n = len(made.scores[0][names[0]])
        same_data = Control(name=SAME_DATA, estimate=within(self.halves.value, self.halves.bounds, n))
        rows = []
        for name in names:
            own = within(points[name], self._bounds(made, name, points[name], inside, outside, picks), n)
            metric = MSP_AUROC if name == "msp" else Metric(f"{name.replace('-', '_')}_auroc", "auc", "lower")
            others = [each[name] for each in made.scores]
            facts = Unlike(
                made=made.name,
                detector=name,
                draws=len(others),
                isolated=self.isolated,
                inputs=visible,
                statistic=statistic,
                aupr=float(np.mean([aupr(self.clean[name], other) for other in others])),
                aupr_chance=len(self.clean[name]) / (len(self.clean[name]) + n),
                fpr95=float(np.mean([fpr95(self.clean[name], other) for other in others])),
                auroc=points,
            )
            without = Control(name="input-statistics", estimate=Estimate(value=visible, n=n))
            rows.append(
                measured(
                    metric,
                    own,
                    finding=FINDING,
                    subset=made.name,
                    controls=(chance(own), same_data, without),
                    judged=metric is MSP_AUROC,
                    facts=facts,
                )
            )
        return rows

    def _resamples(self, made: _Made) -> tuple[Resamples, Resamples]:
        """Resamples of the test items and of the set's; the same blocks where both lie on the same graph."""
        reference, cell = self.reference, self.cell
        if reference.graph.batch is not None:
            shared = reference.resamples(cell, REPLICATES)
            return shared, shared
        if made.shares:
            blocks = all_blocks(cell, reference.graph)
            both = Resamples.draw(blocks.ids, rng=cell.rng("resamples", "all nodes"), replicates=REPLICATES)
            return Resamples(both.weights, both.blocks[reference.items.numpy()]), both
        regions = grown_regions(made.graph, rng=cell.rng("regions", made.name))
        few = len(np.unique(regions)) < MIN_BLOCKS
        ids = np.arange(len(regions)) if few else regions
        return reference.resamples(cell, REPLICATES), Resamples.draw(
            ids, rng=cell.rng("resamples", made.name), replicates=REPLICATES
        )

    def _bounds(
        self, made: _Made, name: str, value: float, inside: Resamples, outside: Resamples, picks: NDArray[np.int64]
    ) -> tuple[float, float]:
        """Block percentile interval; every replicate reads one draw."""
        parts = []
        for d, scores in enumerate(made.scores):
            mine = picks == d
            if mine.any():
                weights = inside.item_weights(mine), outside.item_weights(mine)
                parts.append(auroc_replicates(self.clean[name], scores[name], *weights))
        return never_flat(percentile(np.concatenate(parts)), value, len(self.clean[name]))


def _edge_homophily(graph: Graph) -> float | None:
    """Mean share of a node's neighbours that have its label; propagation along edges helps where it is high."""
    if graph.batch is not None or not graph.num_edges:
        return None
    return float(np.nanmean(homophily(graph)))
