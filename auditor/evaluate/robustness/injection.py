"""The harness of added nodes: verified accuracy on the old ones, beside as many nodes added without a purpose.

See docs/methods/other-edits.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from auditor.data.added_nodes import likeness, places_in, usual_edges, usual_likeness, with_nodes
from auditor.data.edits import settled
from auditor.data.feature_space import FeatureSpace
from auditor.errors import EvaluationError
from auditor.evaluate.robustness.attacked import attacked_items
from auditor.evaluate.robustness.budgets import ONE, flips_for, parse_eps
from auditor.evaluate.robustness.edited import Amount, Edits, asked_of, edited_result, places
from auditor.evaluate.robustness.envelope import Tried
from auditor.evaluate.robustness.flip_claims import FlipClaims
from auditor.evaluate.robustness.single_nodes import one_node_each
from auditor.evaluate.robustness.verification import Verified
from auditor.outcomes import AddedNodes, InjectionOutcome
from auditor.parameters import Only, build, parameters
from auditor.probe import Cell, CellResult, Registered
from auditor.registry import Profile
from auditor.targets.surroundings import Surroundings
from auditor.targets.target import Target

SHARES: Mapping[str, tuple[str, ...]] = {"node": ("0.01", "0.05"), "graph": (ONE, "0.1")}
"""By what is classified."""
MAIN_SHARE: Mapping[str, float] = {"node": 0.01, "graph": 0.0}
"""Of many graphs the least that can be added to each is judged: one node."""
SINGLE: Mapping[Profile, int] = {"quick": 0, "standard": 20, "full": 100}
"""Nodes that are attacked one by one."""
SLACK = 1e-4
"""What a value may be outside its range, as a share of it: sums of float32."""


@parameters
class Settings:
    """Parameters of the harness.

    Attributes:
        eps: added nodes as shares of the nodes that are there, of many graphs of those of each; or `one` node. Empty
            for 1 and 5 %, of many graphs for one node and 10 %.
        edges: of each added node; 0 for the mean degree, rounded up, and one.
        homophily: each added node must be as like its neighbours, in the mean cosine of features, as this share of the
            old nodes are at most (`0.5`: the median); 0 for no bound.
        single: nodes that one added node each, with one edge, is tried against; −1 for the profile's, 0 for none.
        graphs: attacked graphs, drawn from the test graphs; 0 for the profile's (task `graph`).
    """

    eps: tuple[str, ...] = ()
    edges: Annotated[int, Field(ge=0)] = 0
    homophily: Annotated[float, Field(ge=0, le=1), Only(level="node")] = 0.0
    single: Annotated[int, Field(ge=-1), Only(level="node")] = -1
    graphs: Annotated[int, Field(ge=0), Only(level="graph")] = 0

    @model_validator(mode="after")
    def _budgets_can_be_read(self) -> Self:
        shares = [word for word in self.eps if word != ONE]
        if self.eps.count(ONE) > 1:
            raise ValueError(f"eps={'/'.join(self.eps)} names a budget twice.")
        if not parse_eps(shares, "edges") and self.eps and ONE not in self.eps:  # before any cell: a usage error
            raise ValueError(f"eps={'/'.join(self.eps)} names no budget above 0.")
        return self


@dataclass(frozen=True, slots=True, eq=False)
class InjectionVerifier:
    """Adds nodes to the clean graph itself and asks a second copy of the model.

    Attributes:
        target: under audit.
        items: attacked, int64 [n].
        space: its features.
        edges: most of each added node.
        likeness: least mean cosine of an added node's features and its neighbours'; None for no bound.
        part: what alone is asked about, of one graph: the surroundings of `items`; None for the whole graph.
    """

    target: Target
    items: Tensor
    space: FeatureSpace
    edges: int
    likeness: float | None = None
    part: Surroundings | None = None

    def clean(self) -> Verified:
        """The graph as it is."""
        none = torch.empty(2, 0, dtype=torch.int64)
        return self._judged(self.answers(self.space.raw[:0], none, none[0]), 0)

    def asked(self, added: AddedNodes) -> Tensor:
        """Answers about the items on the graph with these nodes, [n, C], of one graph; no rule is looked at."""
        return self.answers(added.x, added.edges, added.edges.new_empty(0))

    def check(self, added: AddedNodes, *, item_budgets: Tensor | None = None) -> Verified:
        """The claim on the graph with these nodes.

        Args:
            added: the nodes, and the budget they were found under.
            item_budgets: nodes allowed in each attacked graph, int64 [n] (task `graph`).

        Raises:
            EvaluationError: it breaks a rule: budget, also of each graph, edges of each, no edge twice, between added
                nodes or graphs; features of a kind or outside of the range that nodes have; a graph that is not
                attacked.
        """
        raw, edges, n = added.x, added.edges, self.target.graph.num_nodes
        count, clean = raw.shape[0], self.space
        if raw.dim() != 2 or raw.shape[1] != clean.raw.shape[1] or raw.dtype != clean.raw.dtype:
            raise EvaluationError(f"features {raw.dtype} {list(raw.shape)}; expected [r, {clean.raw.shape[1]}]")
        if count > added.budget:
            raise EvaluationError(f"{count} nodes added, budget {added.budget}")
        if edges.dtype != torch.int64 or edges.dim() != 2 or edges.shape[0] != 2:
            raise EvaluationError(f"edges are {edges.dtype} {list(edges.shape)}; expected int64 [2, k]")
        if edges.numel():
            inside = (edges >= 0).all() and (edges[0] < count).all() and (edges[1] < n).all()
            if not bool(inside):
                raise EvaluationError(f"an edge does not join one of {count} added nodes to one of {n} old ones")
            if torch.unique(edges[0] * n + edges[1]).numel() < edges.shape[1]:
                raise EvaluationError("an edge is listed twice")
            most = int(torch.bincount(edges[0]).max())
            if most > self.edges:
                raise EvaluationError(f"{most} edges of one added node, bound {self.edges}")
        of = self._graphs_of(added, item_budgets)
        self._check_features(raw)
        if self.likeness is not None:
            lowest = float(likeness(raw, self.space.raw, edges).nan_to_num(nan=1.0).min()) if count else 1.0
            if lowest < self.likeness - SLACK:
                raise EvaluationError(
                    f"an added node is like its neighbours by {lowest:.3f}, bound {self.likeness:.3f}"
                )
        return self._judged(self.answers(raw, edges, of), count)

    def _judged(self, logits: Tensor, added: int) -> Verified:
        right = self.target.task.correct(logits, self.target.graph.y[self.items]).numpy()
        return Verified(right, bool(torch.isfinite(logits).all()), added, 0)

    def _graphs_of(self, added: AddedNodes, item_budgets: Tensor | None) -> Tensor:
        """The graph that each node is added to, int64 [r]; nothing, of one graph."""
        batch, count, of = self.target.graph.batch, added.x.shape[0], added.graphs
        if batch is None:
            if of is not None:
                raise EvaluationError("added nodes name graphs; this is one graph")
            return torch.empty(0, dtype=torch.int64)
        if of is None or of.dtype != torch.int64 or of.shape != (count,):
            came = "none" if of is None else f"{of.dtype} {list(of.shape)}"
            raise EvaluationError(f"graphs of added nodes: {came}; expected int64 [{count}]")
        if not bool(torch.isin(of, self.items).all()):
            raise EvaluationError("nodes are added to graphs that are not attacked")
        if not torch.equal(of[added.edges[0]], batch[added.edges[1]]):
            raise EvaluationError("an edge joins an added node to a node of another graph")
        own = torch.bincount(of, minlength=self.target.graph.num_items)[self.items]
        if item_budgets is not None and bool((own > item_budgets).any()):
            worst = int((own - item_budgets).argmax())
            raise EvaluationError(
                f"{int(own[worst])} nodes added to graph {int(self.items[worst])}, budget {int(item_budgets[worst])}"
            )
        return of

    def _check_features(self, raw: Tensor) -> None:
        space = self.space
        if not bool(torch.isfinite(raw).all()):
            raise EvaluationError("a feature of an added node is no finite number")
        if space.kind == "values":
            slack = SLACK * (space.highest - space.lowest)
            if bool(((raw < space.lowest - slack) | (raw > space.highest + slack)).any()):
                raise EvaluationError("a feature of an added node is outside the range that nodes have")
        elif not bool(((raw == 0) | (raw == 1)).all()):
            raise EvaluationError("a feature of an added node is no bit")
        elif space.kind == "categories" and not bool((raw.sum(dim=1) == 1).all()):
            raise EvaluationError("an added node is not of one category")
        elif raw.numel() and int(raw.sum(dim=1).max()) > int(space.raw.sum(dim=1).max()):
            raise EvaluationError(f"{int(raw.sum(dim=1).max())} bits of an added node, more than any node has")

    def answers(self, raw: Tensor, edges: Tensor, of: Tensor) -> Tensor:
        """Answers about the items once these nodes are added, [n, C].

        Raises:
            EvaluationError: adding them changed what was there.
        """
        whole, part = self.target.graph, self.part
        clean, items, called = whole, self.items, torch.arange(whole.num_nodes)
        if part is not None:
            clean, items, called = part.graph, part.place(items), part.ids
            edges = torch.stack([edges[0], part.place(edges[1])])
        weight = None if whole.edge_weight is None else whole.edge_weight.median()
        graph = with_nodes(clean, self.space.read(raw), edges, of, weight=weight)
        n, old = clean.num_nodes, clean.num_edges
        place = torch.arange(graph.num_nodes) if clean.batch is None else places_in(clean.batch, of)[0]
        ids = torch.full((graph.num_nodes,), -1).scatter(0, place[:n], torch.arange(n))  # of old nodes where they are
        untouched = torch.equal(graph.x[place[:n]], clean.x) and torch.equal(
            ids[graph.edge_index[:, :old]], clean.edge_index
        )
        if not untouched or bool((ids[graph.edge_index[:, old:]] < 0).all(dim=0).any()):
            raise EvaluationError("adding nodes changed what was there, or joined added nodes to each other")
        if clean.batch is None:
            handle = self.target.with_nodes(torch.where(ids < 0, ids, called[ids]))
        else:
            handle = self.target.handle()
        with torch.no_grad():
            return handle.logits(graph.x, graph.edge_index, graph.edge_weight, graph.batch)[items]


def evaluate(cell: Cell) -> CellResult:
    """Runs every attack of the probe, verifies every set of added nodes, measures the worst of them.

    Raises:
        ConfigError: a parameter that cannot be used.
        SkippedError: features that cannot be written, or no search that could run.
    """
    settings = build(Settings, cell.params, owner=cell.probe.id)
    with torch.random.fork_rng(devices=[]):  # a model that draws numbers in eval mode must not move ours
        return _evaluate(cell, settings)


def _evaluate(cell: Cell, settings: Settings) -> CellResult:
    cell = replace(cell, target=replace(cell.target, graph=settled(cell.target.graph)))
    target = cell.target
    graph, space = target.graph, FeatureSpace.of(target.graph.x)
    items = attacked_items(cell, settings.graphs)
    each = min(settings.edges or usual_edges(graph), graph.num_nodes)
    amounts = _amounts(settings, target, items)
    like = None
    if settings.homophily:
        like = usual_likeness(graph, space.raw, settings.homophily)
    verifier = InjectionVerifier(target, items, space, each, like)
    run, tried = FlipClaims(called="sets of added nodes"), list[Tried]()
    for attack in cell.attacks:
        _attack(cell, attack, amounts, verifier, run, tried)
    main = MAIN_SHARE[target.task.level]
    edits = Edits("nodes", "Accuracy with added nodes", "added nodes / nodes", main, edges=each, alike=like is not None)
    params = {"kind": space.kind, "divided_by": space.norm, "edges_each": each, "likeness": like}
    count = SINGLE[cell.profile] if settings.single < 0 else settings.single
    alone, rows = one_node_each(cell, verifier, run, count) if count and target.task.level == "node" else ((), ())
    result = edited_result(cell, run, tried, verifier.clean(), amounts, edits, params)
    return replace(result, measured=(*result.measured, *alone), validity=(*result.validity, *rows))


def _amounts(settings: Settings, target: Target, items: Tensor) -> list[Amount]:
    """The budgets; of many graphs each has its own, at least one node."""
    graph, asked = target.graph, settings.eps or SHARES[target.task.level]
    words = [ONE] * (ONE in asked) + parse_eps([word for word in asked if word != ONE], "edges")

    def count(word: str, nodes: int) -> int:
        return 1 if word == ONE else flips_for(word, nodes)

    names = {word: f"nodes={1 if word == ONE else '1.0' if word == '1' else word}" for word in words}
    if graph.batch is None:
        n = graph.num_nodes
        return [Amount(names[word], 1 / n if word == ONE else float(word), count(word, n)) for word in words]
    sizes = torch.bincount(graph.batch)[items].tolist()
    amounts = []
    for word in words:
        own = torch.tensor([count(word, size) for size in sizes])
        amounts.append(Amount(names[word], int(own.sum()) / sum(sizes), int(own.sum()), own))
    return amounts


def _attack(
    cell: Cell,
    attack: Registered,
    amounts: list[Amount],
    verifier: InjectionVerifier,
    run: FlipClaims,
    tried: list[Tried],
) -> None:
    """Runs one attack and verifies its claims."""
    at = places(amounts)
    attempt = replace(asked_of(cell.attempt(attack), amounts), edges=verifier.edges, likeness=verifier.likeness)

    def verify(claim: AddedNodes, variant: str) -> None:
        place = at[claim.budget]
        verified = verifier.check(claim, item_budgets=amounts[place].item_budgets)
        tried.append(Tried(attack.id, attack.entry.role, variant, place, verified, claim))

    run.run(attack, cell.target, verifier.items, attempt, verify, kind=InjectionOutcome)
