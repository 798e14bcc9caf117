"""The ID set: today's test items, what the model says of them, and which of them stand or fall together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from auditor.data.graph import Graph
from auditor.document import Curve, Estimate, Metric, ValidityRow, check
from auditor.errors import SkippedError
from auditor.evaluate.shift.blocks import Blocks, item_blocks
from auditor.evaluate.shift.detectors import detector_scores, log_posteriors
from auditor.probe import Cell
from auditor.shared import content
from auditor.statistics import calibration, classification, draws
from auditor.statistics.clustered import Resamples, accuracy_interval, design_effect
from auditor.statistics.estimate import ROUNDING
from auditor.targets.target import Capability, Target

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
MIN_ITEMS = 30
HARNESS = "shift"
"""Name of the random stream of the blocks that all cells of a run share; fixed for ever."""
ACCURACY = Metric("accuracy", "share", "lower", "damage")


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What the model says of n items; a row that is not finite counts as wrong and has no confidence.

    Attributes:
        correct: 0 or 1, float64 [n].
        predicted: class, −1 for a row that is not finite, int64 [n].
        log_p: log posteriors, float64 [n, C].
        finite: bool [n].
        scores: detector scores, float64 [n] each; none for a model that gives classes only.
    """

    correct: Floats
    predicted: Ints
    log_p: Floats
    finite: NDArray[np.bool_]
    scores: dict[str, Floats]

    @property
    def confidence(self) -> Floats:
        """Largest posterior, [n]; 1/C where the row is not finite."""
        largest: Floats = np.exp(self.log_p.max(axis=1))
        return largest


@dataclass(frozen=True, slots=True, eq=False)
class Reference:
    """The clean side of every comparison.

    Attributes:
        target: under audit.
        graph: the graph the model is run on: the target's own, or its test graphs.
        items: ids of the test items in the target's graph, int64 [n].
        y: their labels, int64 [n].
        clean: the model's answers on them.
        blocks: which of them are resampled together.
    """

    target: Target
    graph: Graph
    items: Tensor
    y: Ints
    clean: Answers
    blocks: Blocks

    @classmethod
    def of(cls, cell: Cell, items: Tensor | None = None) -> Reference:
        """The ID set of a cell: the target's test items, or some of them, int64 [n].

        Raises:
            SkippedError: fewer than 30 test items, or one class among them.
        """
        target = cell.target
        items = torch.nonzero(target.split.test).flatten() if items is None else items
        y = target.graph.y[items].numpy()
        if len(items) < MIN_ITEMS:
            raise SkippedError(f"{len(items)} test items; shift probes need at least {MIN_ITEMS}")
        if len(np.unique(y)) < 2:
            raise SkippedError(f"every test item is of class {int(y[0])}; a shift of one class says nothing")
        graph = inference_graph(target.graph, items)
        with torch.no_grad():
            logits = target.logits(graph.x, graph.edge_index, graph.edge_weight, graph.batch, graph.fields)
        rows = items if graph.batch is None else torch.arange(len(items))
        clean = answers(logits, graph, rows, y, target)
        return cls(target, graph, items, y, clean, _blocks(cell, items))

    @property
    def accuracy(self) -> float:
        """Clean accuracy on the ID set."""
        return float(self.clean.correct.mean())

    @property
    def has_posteriors(self) -> bool:
        """Whether confidence can be measured: the target serves probabilities, and some of them are finite."""
        return Capability.PROBS in self.target.capabilities and bool(self.clean.finite.any())

    @property
    def deff(self) -> float:
        """Design effect of clean accuracy."""
        return design_effect(self.clean.correct - self.accuracy, self.blocks.ids)

    def resamples(self, cell: Cell, replicates: int) -> Resamples:
        """The resamples that every interval of the cell shares."""
        return Resamples.draw(self.blocks.ids, rng=cell.rng("resamples"), replicates=replicates)

    def clean_accuracy(self, resamples: Resamples) -> Estimate:
        """Clean accuracy on the ID set with its interval."""
        return within(self.accuracy, accuracy_interval(self.clean.correct, resamples), len(self.items))

    def describe(self, clean: Estimate) -> dict[str, object]:
        """Metrics of the clean ID set as plain values, `clean` being its accuracy."""
        return {
            "items": clean.n,
            "accuracy": clean.value,
            "accuracy_ci": [clean.lo, clean.hi],
            "blocks": self.blocks.found,
            "block_method": self.blocks.method,
            "design_effect": self.deff,
            **set_metrics(self.clean, self.y, self.target.num_classes),
        }

    def rows(self) -> tuple[ValidityRow, ...]:
        """Whether the ID set can carry the comparison."""
        return self._accuracy_row(), self.blocks.row(self.deff)

    def _accuracy_row(self) -> ValidityRow:
        claimed, n = self.target.claimed_accuracy, len(self.items)
        if n < int(self.target.split.test.sum()):
            claimed = None  # it is about all of them
        held = f"{n} test items, none of them trained on; accuracy {100 * self.accuracy:.2f} %"
        if claimed is None:
            return check("shift-id-accuracy", "integrity", None, f"{held}; no accuracy is claimed of these.")
        agrees = abs(self.accuracy - claimed) <= max(1 / n, 0.0005) + ROUNDING
        return check("shift-id-accuracy", "integrity", agrees, f"{held}, claimed {100 * claimed:.2f} %.")


def _blocks(cell: Cell, items: Tensor) -> Blocks:
    """The blocks of a run: of the graph and the items alone, with a draw of their own, so that all cells share them."""
    graph = cell.target.graph
    rng = draws.generator(0, HARNESS, "blocks")
    key = ("blocks", content(graph.edge_index, graph.num_nodes, graph.batch, items))
    return cell.models.shared.once(key, lambda: item_blocks(graph, items, rng=rng))


def all_blocks(cell: Cell, graph: Graph) -> Blocks:
    """The blocks of all items of a graph, shared by all cells of a run like those of the test items."""
    every = torch.arange(graph.num_items)
    key = ("blocks", content(graph.edge_index, graph.num_nodes, graph.batch, every))
    rng = draws.generator(0, HARNESS, "blocks")
    return cell.models.shared.once(key, lambda: item_blocks(graph, every, rng=rng))


def inference_graph(graph: Graph, items: Tensor) -> Graph:
    """What the model is run on: the graph of nodes as it is, of many graphs those in `items`."""
    if graph.batch is None:
        return graph
    chosen = torch.zeros(graph.num_items, dtype=torch.bool)
    chosen[items] = True
    return graph.induced(torch.nonzero(chosen[graph.batch]).flatten())


def answers(logits: Tensor, graph: Graph, rows: Tensor, y: Ints, target: Target) -> Answers:
    """Answers about the items in `rows` of `logits`, the model's output on `graph`."""
    scores = {}
    if Capability.PROBS in target.capabilities:
        scores = detector_scores(logits, graph, has_logits=Capability.LOGITS in target.capabilities)
    own = logits[rows]
    finite = torch.isfinite(own).all(dim=1).numpy()
    predicted = target.task.answers(own).numpy()
    return Answers(
        correct=(predicted == y).astype(np.float64),
        predicted=predicted,
        log_p=log_posteriors(own).numpy(),
        finite=finite,
        scores={name: score[rows].numpy() for name, score in scores.items()},
    )


def set_metrics(given: Answers, y: Ints, classes: int) -> dict[str, object]:
    """Balanced accuracy, MCC, ROC-AUC (two classes), NLL, Brier, ECE, SCE, AURC, PRR as plain values.

    `constant` is the share of the commonest class: what always naming that one is right on. Confidence
    metrics are over finite rows.
    """
    ok = given.finite
    metrics: dict[str, object] = {
        "balanced_accuracy": classification.balanced_accuracy(y, given.predicted, classes),
        "mcc": classification.matthews(y, given.predicted),
        "constant": float(classification.priors(y, classes).max()),
    }
    absent = sorted(set(range(classes)) - set(y.tolist()))
    if absent:
        metrics["absent_classes"] = absent
    if not ok.any():
        return metrics
    log_p, correct, confidence, labels = given.log_p[ok], given.correct[ok], given.confidence[ok], y[ok]
    if classes == 2 and len(np.unique(labels)) == 2:
        from sklearn.metrics import roc_auc_score  # here, so that a worker starts without it

        metrics["roc_auc"] = float(roc_auc_score(labels, log_p[:, 1] - log_p[:, 0]))
    metrics |= {
        "nll": calibration.negative_log_likelihood(log_p, labels),
        "brier": calibration.brier(np.exp(log_p), labels),
        "ece": calibration.ece(confidence, correct, calibration.equal_width_bins(confidence)),
        "ece_equal_mass": calibration.ece(confidence, correct, calibration.equal_mass_bins(confidence)),
        "sce": calibration.sce(confidence, correct),
        "aurc": calibration.aurc(confidence, correct),
        "prr": calibration.prediction_rejection_ratio(confidence, correct),
    }
    return metrics


def mean_metrics(rows: list[dict[str, object]]) -> dict[str, float]:
    """Mean over draws of every number that each draw has."""
    shared = [k for k, v in rows[0].items() if isinstance(v, float) and all(isinstance(r.get(k), float) for r in rows)]
    means = {key: float(np.mean([row[key] for row in rows])) for key in shared}
    return {key: mean for key, mean in means.items() if np.isfinite(mean)}


def within(value: float, bounds: tuple[float, float], n: int) -> Estimate:
    """A number with its interval, over n items."""
    return Estimate(value=value, lo=bounds[0], hi=bounds[1], n=n)


def level(name: str, estimate: Estimate, end: float) -> Curve:
    """A horizontal line of a chart from 0 to `end`, with its band."""
    return Curve(
        name=name,
        role="reference",
        x=(0.0, end),
        y=(estimate.value,) * 2,
        lo=(estimate.lo,) * 2,
        hi=(estimate.hi,) * 2,
    )
