"""Facts about edits: of edges, features and nodes, before an answer and in training."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from auditor.records import Model, Number
from auditor.statistics.estimate import MaybeShare, Share

NoEdgeFree = Literal["", "no-recipe", "failed", "not-better", "edges-unused"]


"""Why there is no model trained without edges: no recipe to train it by; its training failed; it was no better than
always naming the commonest class, on the validation items; or the model itself is one, since no edge can change an
answer of it."""


class Robust(Model):
    """Accuracy under edits at one budget.

    Attributes:
        clean: nothing edited.
        attacked: the worst verified set of edits.
        random: random edits of the same budget; None where that control did not run.
        edge_free: the same recipe trained without edges; None where there is no such model.
        no_edge_free: why there is none; empty where there is one.
        majority: share of the commonest class.
        edits: edits that the worst set makes.
        budget: edits it was allowed.
        additions, deletions: of the worst set.
        attacked_items: how many items were attacked.
        winner: which attack was the worst.
        attempts: accuracy left by each attack that was tried, by name.
        queries: that the worst one asked; None for an attack that asks none.
    """

    kind: Literal["robust"] = "robust"
    clean: Share
    attacked: Share
    random: MaybeShare
    edge_free: MaybeShare
    no_edge_free: NoEdgeFree = ""
    majority: float
    edits: int
    budget: int
    additions: int
    deletions: int
    attacked_items: int
    winner: str
    attempts: dict[str, float] = Field(default_factory=dict)
    queries: int | None = None


class SingleNodes(Model):
    """Nodes that were attacked one by one.

    Attributes:
        group: how they were chosen: `uniform`, `margin40`, `degree=8-10`.
        mode: which edges were edited: `direct`, at the node itself; `influencer`, near it; `additions`, `deletions`;
            `added-node`: a node was added and joined to it.
        flips: edits allowed at each: `one`, or as many as the node has edges (`degree`).
        attacked: nodes.
        tries: random sets of as many edits at each node, the best of which is the control; 0 where it did not run.
        median_flips: edits that half of the nodes break within; None where fewer than half break.
        largest: most edits allowed at one node.
    """

    kind: Literal["single-nodes"] = "single-nodes"
    group: str
    mode: str
    flips: Literal["one", "degree"]
    attacked: int
    tries: int
    median_flips: Number = None
    largest: int


class EditedData(Model):
    """Accuracy after features were edited, or nodes added, at one budget.

    Attributes:
        what: `bits` toggled, `categories` of nodes changed, `values` moved, or `nodes` added.
        clean: nothing edited.
        attacked: the worst verified edit.
        random: random edits of the same budget; None where that control did not run.
        edits: bits toggled, categories changed or nodes added by the worst edit; 0 for values.
        budget: how many were allowed; 0 for values.
        radius: largest change of a value, in standard deviations; None for the others.
        edges: edges of each added node, or the most it may have; None for the others.
        alike: whether added nodes had to be like their neighbours, which some edges may not fit.
        per_graph: whether each attacked item is a graph with a budget of its own, `budget` being their sum.
        attacked_items: how many items were attacked.
        winner: which attack was the worst.
        attempts: accuracy left by each attack that was tried, by name.
    """

    kind: Literal["edited-data"] = "edited-data"
    what: Literal["bits", "categories", "values", "nodes"]
    clean: Share
    attacked: Share
    random: MaybeShare
    edits: int = 0
    budget: int = 0
    radius: Number = None
    edges: int | None = None
    alike: bool = False
    per_graph: bool = False
    attacked_items: int
    winner: str
    attempts: dict[str, float] = Field(default_factory=dict)


class Poisoned(Model):
    """Accuracy of a recipe trained anew on an edited graph, as a mean over trainings.

    Attributes:
        clean, poisoned: trained on the clean graph, and on the edited one.
        random: trained on one with as many random edits; None where that control did not run.
        fixed: what the target itself, not trained anew, keeps on the edited graph.
        edits, budget: edits that were made, and how many were allowed.
        trainings: of every arm, from the same seeds.
        by_seed: accuracy of each poisoned training.
        items: test items.
    """

    kind: Literal["poisoned"] = "poisoned"
    clean: Share
    poisoned: Share
    random: MaybeShare
    fixed: Number = None
    edits: int
    budget: int
    trainings: int
    by_seed: tuple[float, ...] = ()
    items: int


class BudgetCurve(Model):
    """What sums up a curve of accuracy against budget.

    Attributes:
        reference: the model without edges that the area is relative to; empty where it is not.
        reference_error: its share of wrong answers.
        majority: share of the commonest class.
        largest_budget: where the curve ends, as a share of the edges.
        median_edits: edits that half of the broken items need.
    """

    kind: Literal["budget-curve"] = "budget-curve"
    reference: str = ""
    reference_error: Number = None
    majority: Number = None
    largest_budget: Number = None
    median_edits: Number = None


class Certified(Model):
    """Answers of a vote that are proven to stand so many edits.

    Attributes:
        votes: what votes: `parts` of the edges, or copies with `noise` on them.
        voters: how many answers make a vote.
        clean: the vote, unedited.
        target: the model itself, unedited.
        edits: which ones: `flips` of any kind, `additions` or `deletions`.
        count: how many; 0 for the vote as it is.
        random: the vote after as many random edits; None where none were made.
        found: after the worst of all edits that were made; likewise.
        exact: whether every set of so many edits was made.
        abstained: items on which no class surely has the majority, so that nothing can be certified.
        items: how many items were asked about.
    """

    kind: Literal["certified"] = "certified"
    votes: Literal["parts", "noise"]
    voters: int
    clean: Share
    target: Share
    edits: Literal["flips", "additions", "deletions"] = "flips"
    count: int = 0
    random: MaybeShare = None
    found: MaybeShare = None
    exact: bool = False
    abstained: int = 0
    items: int
