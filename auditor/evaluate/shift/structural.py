"""Harness of structural-split: how far the recipe falls on nodes with another place in the graph than those it saw.

The recipe is trained anew on nodes at one end of a property and asked about held-back nodes of that end and of the
other one. A split of the same sizes at random, trained with the same seed, is the control. No number is about the model
in the file: it is about its recipe.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from torch_geometric.data import Data
from torch_geometric.transforms import NodePropertySplit
from torch_geometric.utils import to_networkx

from auditor.data.graph import Graph, Split
from auditor.document import Control, Estimate, Measured, Metric, ValidityRow, measured
from auditor.document.facts import Domain as Facts
from auditor.errors import AuditorError, ConfigError, SkippedError
from auditor.evaluate.shift.blocks import Blocks, communities, node_blocks
from auditor.evaluate.shift.heldout import MIX, MIXED
from auditor.evaluate.shift.reference import HARNESS, MIN_ITEMS, answers, within
from auditor.evaluate.shift.sides import Side, accuracy_replicates, adjusted_gap, apart
from auditor.parameters import build, parameters
from auditor.probe import Cell, CellResult
from auditor.registry import lack_of
from auditor.shared import content
from auditor.statistics import draws
from auditor.statistics.clustered import Resamples, design_effect
from auditor.statistics.multiplicity import bootstrap_p, holm
from auditor.targets.capabilities import TRIAL_ERRORS
from auditor.targets.rng import forked_rng
from auditor.targets.target import Capability, Target

Floats = NDArray[np.float64]
Property = Literal["popularity", "locality", "density"]
PROPERTIES: tuple[Property, ...] = ("popularity", "locality", "density")
GAP = Metric("structural_gap", "share", "higher", "held-out", signed=True)
EQUAL_MIX = Metric("structural_gap_at_equal_mix", "share", "higher", signed=True)
FINDING, RANDOM = "shift-structural-gap", "random-split"
REPLICATES = 1000
FEW = 5
"""Training items of a class below which its recall says little."""
PARTS = ("id_train_mask", "id_val_mask", "id_test_mask", "ood_val_mask", "ood_test_mask")


@parameters
class Settings:
    """Parameters of the harness.

    Attributes:
        properties: what to split by.
        ratios: shares of the nodes that train, choose the checkpoint and test at the near end, that would choose at the
            far end (left out here), and that test there.
    """

    properties: tuple[Property, ...] = PROPERTIES
    ratios: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = (0.3, 0.1, 0.1, 0.1, 0.4)


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """A split: what trains and chooses, the test items of the near end, and those of the far one, bool [N] each.

    Attributes:
        tied: share of the nodes whose value is the one where two parts meet; which of them is where is chance.
    """

    train: Tensor
    val: Tensor
    near: Tensor
    far: Tensor
    tied: float | None = None

    @property
    def split(self) -> Split:
        """What the recipe is trained by."""
        return Split(self.train, self.val, self.near | self.far)


@dataclass(frozen=True, slots=True, eq=False)
class _Trained:
    """The recipe trained by one split, on either end."""

    parts: Parts
    near: Side
    far: Side
    blocks: tuple[Blocks, Blocks]

    @property
    def gap(self) -> Estimate:
        """Near − far in accuracy."""
        return apart(self.near, self.far, lambda side: side.accuracy, accuracy_replicates)

    @property
    def replicates(self) -> Floats:
        """Of that gap, [B]."""
        return accuracy_replicates(self.near) - accuracy_replicates(self.far)


def evaluate(cell: Cell) -> CellResult:
    """Trains the recipe by a split of each property and by a random one, and compares what it loses from end to end.

    Raises:
        SkippedError: there is no recipe, too few nodes, or the recipe fails on the random split or on all others.
        ConfigError: the ratios are not five that add up to 1.
    """
    settings = build(Settings, cell.params, owner=cell.probe.id)
    ratios = _five(settings.ratios)
    target = cell.target
    if Capability.RETRAIN not in target.capabilities:
        raise SkippedError(f"needs {lack_of(Capability.RETRAIN)}", lacks=(str(Capability.RETRAIN),))
    graph = target.private_graph
    parts = {
        name: property_parts(graph, name, ratios, seed=cell.integer("split", name)) for name in settings.properties
    }
    control = random_parts(graph, next(iter(parts.values())), rng=cell.rng("split", RANDOM))
    for drawn in (*parts.values(), control):
        _check_enough(graph, drawn)
    missing: dict[str, str] = {}
    base = _trained(cell, RANDOM, control, missing)
    if base is None:
        raise SkippedError(f"the recipe cannot be trained on a random split: {missing[RANDOM]}")
    trained = {name: _trained(cell, name, own, missing) for name, own in parts.items()}
    found: dict[str, _Trained] = {name: each for name, each in trained.items() if each is not None}
    if not found:
        raise SkippedError("; ".join(f"{name}: {reason}" for name, reason in missing.items()))
    beyond = [bootstrap_p(each.replicates - base.replicates, MIXED) for each in found.values()]
    p_values = dict(zip(found, holm(beyond), strict=True))
    facts = {name: _facts(target, name, each) for name, each in found.items()}
    rows = [row for name, each in found.items() for row in _rows(name, each, base, facts[name], p_values[name])]
    every: dict[str, _Trained] = {RANDOM: base, **found}
    return CellResult(
        access=("features", "graph", "labels"),
        measured=tuple(rows),
        validity=(_blocks_row(tuple(every.values())),),
        params={
            "training_seed": cell.seed,
            "missing": missing,
            "ratios": list(ratios),
            "items": {name: [len(each.near.y), len(each.far.y)] for name, each in every.items()},
            "tied": {name: each.parts.tied for name, each in found.items()},
            "few_training_items": {name: _few(target, each.parts) for name, each in found.items()},
            "replicates": REPLICATES,
        },
    )


def _five(ratios: tuple[float, ...]) -> list[float]:
    """The ratios, the last one being what the others leave, so that they add up to 1 exactly.

    Raises:
        ConfigError: they are not five, or do not add up to 1.
    """
    if len(ratios) != len(PARTS) or not math.isclose(sum(ratios), 1, abs_tol=1e-6):
        said = "/".join(f"{ratio:g}" for ratio in ratios)
        raise ConfigError(
            f"ratios={said} are {len(ratios)} numbers that add up to {sum(ratios):g}; expected five that add up to 1. "
            "Give training, validation and test at the near end, validation and test at the far end."
        )
    first = list(ratios[:-1])
    return [*first, 1.0 - sum(first)]


def property_parts(graph: Graph, name: Property, ratios: list[float], *, seed: int) -> Parts:
    """Nodes with high values train, those with low ones are the far end.

    Args:
        graph: read as undirected, loops left out.
        name: `popularity`, PageRank; `locality`, PageRank personalised to the node of the highest; `density`, local
            clustering.
        ratios: five, adding up to 1.
        seed: of the order among equal values, and of the parts at the near end.

    Source: Bazhenov et al., "Evaluating robustness and uncertainty of graph models under structural distributional
    shifts", NeurIPS 2023, as in PyG.
    """
    keys, n = graph.pair_keys(), graph.num_nodes
    pairs = torch.stack([keys // n, keys % n])
    data = Data(edge_index=torch.cat([pairs, pairs.flip(0)], dim=1), num_nodes=n)
    split = NodePropertySplit(name, ratios)
    with forked_rng(seed):  # the transform draws from the global generator
        made = split(data)
    masks = [made[part] for part in PARTS]
    values = split.compute_fn(to_networkx(data, to_undirected=True), split.ascending)
    far = masks[3] | masks[4]
    tied = max(_tied(values, before=~far, after=far), _tied(values, before=masks[3], after=masks[4]))
    train, val, near, _, tested = (mask & graph.labelled for mask in masks)
    return Parts(train, val, near, tested, tied)


def _tied(values: Tensor, *, before: Tensor, after: Tensor) -> float:
    """Share of the nodes with the value where one part ends, if the next begins with it; in descending order."""
    edge = values[before].max()  # the transform turns the sign, so that the far end has the highest
    return float((values == edge).double().mean()) if bool((values[after] == edge).any()) else 0.0


def random_parts(graph: Graph, like: Parts, *, rng: np.random.Generator) -> Parts:
    """As many nodes in each part, at random among those with a label."""
    order = torch.from_numpy(rng.permutation(torch.nonzero(graph.labelled).flatten().numpy()))
    sizes = [int(part.sum()) for part in (like.train, like.val, like.near, like.far)]
    number = torch.full((graph.num_nodes,), -1)
    number[order[: sum(sizes)]] = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    return Parts(number == 0, number == 1, number == 2, number == 3)


def _check_enough(graph: Graph, parts: Parts) -> None:
    for what, mask in (("near", parts.near), ("far", parts.far)):
        if int(mask.sum()) < MIN_ITEMS:
            raise SkippedError(f"{int(mask.sum())} test nodes at the {what} end; at least {MIN_ITEMS} are needed")
        if len(torch.unique(graph.y[mask])) < 2:
            raise SkippedError(f"every test node at the {what} end is of one class; one class says nothing")


def _trained(cell: Cell, name: str, parts: Parts, missing: dict[str, str]) -> _Trained | None:
    """The recipe trained by a split at the seed of the cell, and its answers about both ends; None where it fails."""
    cell.tick(None, f"the recipe by {name}")
    try:
        twin = cell.target.retrained(split=parts.split, seed=cell.seed)
        logits = twin.clean_logits()
    except (*TRIAL_ERRORS, AuditorError) as error:
        missing[name] = f"{type(error).__name__}: {error}"
        return None
    graph, sides, blocks = cell.target.private_graph, [], []
    key = ("communities", content(graph.edge_index, graph.num_nodes))
    labels = cell.models.shared.once(key, lambda: communities(graph, rng=draws.generator(0, HARNESS, "blocks")))
    for end, mask in (("near", parts.near), ("far", parts.far)):
        items = torch.nonzero(mask).flatten()
        y = graph.y[items].numpy()
        blocks.append(node_blocks(graph, items, labels))
        resamples = Resamples.draw(blocks[-1].ids, rng=cell.rng("resamples", name, end), replicates=REPLICATES)
        sides.append(Side(y, answers(logits, graph, items, y, twin), resamples, cell.target.num_classes))
    return _Trained(parts, sides[0], sides[1], (blocks[0], blocks[1]))


def _rows(name: str, own: _Trained, base: _Trained, facts: Facts, p_adjusted: float) -> list[Measured]:
    """What is lost beyond a random split, judged; and the same at equal class mix, shown."""
    subset = f"split={name}"
    control = Control(name=RANDOM, estimate=base.gap, contrast=_beyond(own.gap, base.gap))
    rows = [
        measured(
            GAP,
            own.gap,
            finding=FINDING,
            subset=subset,
            controls=(control,),
            judged=True,
            p_adjusted=p_adjusted,
            p_for=MIXED,
            facts=facts,
        )
    ]
    left, other = facts.adjusted, adjusted_gap(base.near, base.far)
    if left is None or other is None:
        return rows
    equal = Control(name=RANDOM, estimate=other, contrast=_beyond(left, other))
    assert own.gap.lo is not None
    assert left.lo is not None
    finding = MIX if own.gap.lo > MIXED >= left.lo else FINDING
    return [*rows, measured(EQUAL_MIX, left, finding=finding, subset=subset, controls=(equal,), facts=facts)]


def _beyond(own: Estimate, base: Estimate) -> Estimate:
    """Own − base of two trainings on other items; a difference of differences may be above 1 or below −1."""
    (first, below, above), (second, under, over) = _arms(own), _arms(base)
    value = first - second
    return within(value, (value - math.hypot(below, over), value + math.hypot(above, under)), own.n)


def _arms(estimate: Estimate) -> tuple[float, float, float]:
    """The value, and how far its interval reaches below and above."""
    assert estimate.value is not None
    assert estimate.lo is not None
    assert estimate.hi is not None
    return estimate.value, estimate.value - estimate.lo, estimate.hi - estimate.value


def _facts(target: Target, name: str, own: _Trained) -> Facts:
    near, far = own.near, own.far
    return Facts(
        domain=name,
        by="structure",
        items=len(far.y),
        inside=near.accuracy,
        outside=far.accuracy,
        gap=own.gap,
        adjusted=adjusted_gap(near, far),
        constant=float(far.priors.max()),
        prior_distance=float(np.abs(near.priors - far.priors).sum() / 2),
        absent_classes=tuple(np.flatnonzero((near.priors > 0) & (far.priors == 0)).tolist()),
        rare_classes=tuple(_few(target, own.parts)),
        tied=own.parts.tied,
        metrics=_metrics(near, far),
    )


def _metrics(near: Side, far: Side) -> dict[str, float]:
    """Mean recall and Matthews' correlation at either end."""
    found = {
        "balanced_accuracy_near": near.balanced.value,
        "balanced_accuracy_far": far.balanced.value,
        "mcc_near": near.matthews.value,
        "mcc_far": far.matthews.value,
    }
    return {key: value for key, value in found.items() if value is not None}


def _few(target: Target, parts: Parts) -> list[int]:
    """Classes with fewer than five training items."""
    counts = torch.bincount(target.private_graph.y[parts.train], minlength=target.num_classes)
    return torch.nonzero(counts < FEW).flatten().tolist()


def _blocks_row(trained: tuple[_Trained, ...]) -> ValidityRow:
    """What the intervals rest on, at the end that has the fewest communities."""
    ends = [(end, side) for each in trained for end, side in zip(each.blocks, (each.near, each.far), strict=True)]
    blocks, side = min(ends, key=lambda pair: pair[0].found)
    right = side.answers.correct
    return blocks.row(design_effect(right - right.mean(), blocks.ids))
