"""L2R-GNN as a defence: `l2r`, modes `head`, `erm`, `all`, `l2r`, `l2r-bi`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from auditor.defense import DefenseTask
from auditor.document import ValidityRow
from auditor.parameters import parameters, spec_of
from auditor.statistics.draws import generator, torch_generator
from auditor.targets.target import Fitted, Target
from defenses.fitting import rebuilt, refit_trained, train_afresh
from defenses.l2r.checks import dependence_found, head_rows, weight_rows
from defenses.l2r.dependence import all_pairs, standardised
from defenses.l2r.diagnostics import dependence_notes, weight_notes
from defenses.l2r.head import refit, with_head
from defenses.l2r.items import FrozenHead, freeze
from defenses.l2r.learned import LearnedWeights, learn_frozen
from defenses.l2r.settings import Reweighting
from defenses.l2r.training import EqualWeights, Schedule, train_weighted

HEAD_STEPS = 200


@parameters
class L2R(Reweighting):
    """Learns one weight per training item that makes embedding dimensions independent, and trains on weighted items.

    The groups are not told to it. A mitigation to try, with its effect measured: the weights go the right way, accuracy
    under shift need not follow. Choices where the paper is silent: class-wise softmax, K = 3, k = 4, lam = .3, the
    weighted covariance, ESS floor, warm-up, exact memory. See docs/methods/l2r.md.

    Attributes: see `Reweighting`.

    Source: Chen et al., "Learning to Reweight for Graph Neural Network", AAAI 2024 (a reconstruction).
    """

    id: ClassVar[str] = "l2r"
    effect: ClassVar[str] = "l2r-effect"

    def fit(self, target: Target, task: DefenseTask) -> Target:
        """See `auditor.defense.Defense`."""
        return refit_trained(self, target, task) if self.mode == "head" else train_afresh(self, target, task)

    def train(self, base: Target, task: DefenseTask) -> Fitted:
        """See `defenses.fitting.Trains`."""
        start = time.perf_counter()
        model, notes, rows = self._head(base, task) if self.mode == "head" else self._end_to_end(base, task)
        return Fitted(
            model,
            {**notes, "seconds": time.perf_counter() - start},
            validity=rows,
            measured=dependence_found(notes),
        )

    def wrap(self, base: Target, tensors: Mapping[str, Tensor], task: DefenseTask) -> Target:
        """See `auditor.defense.Defense`."""
        return rebuilt(self, base, tensors, task, head=self.mode == "head")

    def controls(self) -> tuple[str, ...]:
        """Refit or training with equal weights; then the same variance without the idea."""
        if self.mode == "erm":
            return ()
        first = "uniform-refit" if self.mode == "head" else "l2r:mode=erm"
        own = spec_of(self).partition(":")[2]
        given = [f"mode={self.mode}", *(piece for piece in own.split(",") if piece and not piece.startswith("mode="))]
        return first, f"random-weights:{','.join(sorted(given))}"

    def head_weights(self, frozen: FrozenHead, seed: int) -> tuple[Tensor, Mapping[str, Any]]:
        """Weights of mode `head` for the items of a frozen head, float64 [n], and notes of the fit."""
        rng = torch_generator(seed, "l2r", "batches")
        return learn_frozen(
            self.objective, frozen.z, frozen.y, steps=HEAD_STEPS, memory=self.memory, batch_size=256, rng=rng
        )

    def _head(self, base: Target, task: DefenseTask) -> tuple[nn.Module, Mapping[str, Any], tuple[ValidityRow, ...]]:
        frozen = freeze(base)
        w, notes = self.head_weights(frozen, task.seed)
        live_z, _ = standardised(frozen.z)
        measured = dependence_notes(
            live_z,
            w,
            frozen.y,
            all_pairs(live_z.shape[1]),
            self.objective,
            steps=HEAD_STEPS,
            rng=torch_generator(task.seed, "l2r", "dependence"),
        )
        groups = None if task.group is None else task.group[frozen.items]
        model, own, rows = refitted(base, frozen, w)
        found = {**own, **notes, **weight_notes(w, frozen.y, groups), **measured}
        return model, found, (*rows, *weight_rows(found, self.ess))

    def _end_to_end(
        self, base: Target, task: DefenseTask
    ) -> tuple[nn.Module, Mapping[str, Any], tuple[ValidityRow, ...]]:
        if self.mode == "erm":
            return train_weighted(base, EqualWeights(), seed=task.seed, tick=task.tick)[0], {}, ()
        y = base.graph.y[base.split.train]
        weights = LearnedWeights(
            self.objective,
            y,
            0 if self.mode == "all" else self.clusters,
            self.memory,
            Schedule.of(base).batch_size,
            torch_generator(task.seed, "l2r", "batches"),
            generator(task.seed, "l2r", "clusters"),
            task.seed,
        )
        model, encoder = train_weighted(base, weights, seed=task.seed, tick=task.tick)
        w = weights.final()
        live_z, live = standardised(encoder.embed(encoder.train)[0])
        measured = dependence_notes(
            live_z,
            w,
            y,
            weights.pairs(live),
            self.objective,
            steps=HEAD_STEPS,
            rng=torch_generator(task.seed, "l2r", "dependence"),
        )
        groups = None if task.group is None else task.group[encoder.train.items]
        found = {**(weights.notes or {}), **weight_notes(w, y, groups), **measured}
        return model, found, weight_rows(found, self.ess)


def refitted(
    base: Target, frozen: FrozenHead, w: Tensor | None
) -> tuple[nn.Module, dict[str, Any], tuple[ValidityRow, ...]]:
    """The base's model with its head refitted on weighted items; notes: items, convergence; what was checked."""
    layer, converged = refit(frozen.z, frozen.y, w, frozen.layer)
    notes: dict[str, Any] = {
        "refit_items": int(frozen.y.shape[0]),
        "refit_on": "validation" if frozen.on_validation else "train",
        "train_accuracy": round(frozen.train_accuracy, 6),
        "interpolates": frozen.interpolates,
        "converged": converged,
    }
    return with_head(base.model, frozen.head, layer), notes, head_rows(base, frozen)
