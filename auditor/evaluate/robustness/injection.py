"""The harness of added nodes: verified accuracy on the old ones, beside as many nodes added without a purpose.

See docs/methods/other-edits.md.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from auditor.data.added_nodes import likeness, usual_edges, usual_likeness, with_nodes
from auditor.data.feature_space import FeatureSpace
from auditor.errors import EvaluationError
from auditor.evaluate.robustness.budgets import flips_for, parse_eps
from auditor.evaluate.robustness.edited import Amount, Edits, edited_result
from auditor.evaluate.robustness.envelope import Tried
from auditor.evaluate.robustness.flip_claims import FlipClaims
from auditor.evaluate.robustness.verification import Verified
from auditor.outcomes import AddedNodes, InjectionOutcome
from auditor.parameters import build, parameters
from auditor.probe import Cell, CellResult, Registered
from auditor.targets.target import Target

MAIN_SHARE = 0.01
SLACK = 1e-4
"""What a value may be outside its range, as a share of it: sums of float32."""


@parameters
class Settings:
    """Parameters of the harness.

    Attributes:
        eps: added nodes as shares of the nodes that are there.
        edges: of each added node; 0 for the mean degree, rounded up, and one.
        homophily: each added node must be as like its neighbours, in the mean cosine of features, as this share of the
            old nodes are at most (`0.5`: the median); 0 for no bound.
    """

    eps: tuple[str, ...] = ("0.01", "0.05")
    edges: Annotated[int, Field(ge=0)] = 0
    homophily: Annotated[float, Field(ge=0, le=1)] = 0.0

    @model_validator(mode="after")
    def _budgets_can_be_read(self) -> Self:
        if not parse_eps(self.eps, "edges"):  # before any cell: a usage error
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
    """

    target: Target
    items: Tensor
    space: FeatureSpace
    edges: int
    likeness: float | None = None

    def clean(self) -> Verified:
        """The graph as it is."""
        none = torch.empty(2, 0, dtype=torch.int64)
        return self._ask(self.space.raw[:0], none)

    def check(self, added: AddedNodes) -> Verified:
        """The claim on the graph with these nodes.

        Raises:
            EvaluationError: it breaks a rule: budget, edges of each, no edge twice or between added nodes; features
                of a kind or outside of the range that nodes have.
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
        self._check_features(raw)
        if self.likeness is not None:
            lowest = float(likeness(raw, self.space.raw, edges).nan_to_num(nan=1.0).min()) if count else 1.0
            if lowest < self.likeness - SLACK:
                raise EvaluationError(
                    f"an added node is like its neighbours by {lowest:.3f}, bound {self.likeness:.3f}"
                )
        return self._ask(raw, edges)

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
        elif raw.numel() and int(raw.sum(dim=1).max()) > int(space.raw.sum(dim=1).max()):
            raise EvaluationError(f"{int(raw.sum(dim=1).max())} bits of an added node, more than any node has")

    def _ask(self, raw: Tensor, edges: Tensor) -> Verified:
        clean, task = self.target.graph, self.target.task
        graph = with_nodes(clean, self.space.read(raw), edges)
        n, old = clean.num_nodes, clean.num_edges
        untouched = torch.equal(graph.x[:n], clean.x) and torch.equal(graph.edge_index[:, :old], clean.edge_index)
        if not untouched or bool((graph.edge_index[:, old:] >= n).all(dim=0).any()):
            raise EvaluationError("adding nodes changed what was there, or joined added nodes to each other")
        ids = torch.cat([torch.arange(n), torch.full((raw.shape[0],), -1)])
        with torch.no_grad():
            logits = self.target.with_nodes(ids).logits(graph.x, graph.edge_index, graph.edge_weight)[self.items]
        right = task.correct(logits, clean.y[self.items]).numpy()
        return Verified(right, bool(torch.isfinite(logits).all()), raw.shape[0], 0)


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
    target = cell.target
    graph, space = target.graph, FeatureSpace.of(target.graph.x)
    items = torch.nonzero(target.split.test).flatten()
    each = min(settings.edges or usual_edges(graph), graph.num_nodes)
    words = parse_eps(settings.eps, "edges")
    amounts = [Amount(f"nodes={word}", float(word), flips_for(word, graph.num_nodes)) for word in words]
    like = usual_likeness(graph, space.raw, settings.homophily) if settings.homophily else None
    verifier = InjectionVerifier(target, items, space, each, like)
    run, tried = FlipClaims(called="sets of added nodes"), list[Tried]()
    for attack in cell.attacks:
        _attack(cell, attack, amounts, verifier, run, tried)
    edits = Edits("nodes", "Accuracy with added nodes", "added nodes / nodes", MAIN_SHARE, edges=each)
    params = {"kind": space.kind, "divided_by": space.norm, "edges_each": each, "likeness": like}
    return edited_result(cell, run, tried, verifier.clean(), amounts, edits, params)


def _attack(
    cell: Cell,
    attack: Registered,
    amounts: list[Amount],
    verifier: InjectionVerifier,
    run: FlipClaims,
    tried: list[Tried],
) -> None:
    """Runs one attack and verifies its claims."""
    place = {amount.budget: k for k, amount in reversed(list(enumerate(amounts)))}
    budgets = tuple(sorted(map(int, place)))
    attempt = replace(cell.attempt(attack, budgets=budgets), edges=verifier.edges, likeness=verifier.likeness)

    def verify(claim: AddedNodes, variant: str) -> None:
        verified = verifier.check(claim)
        tried.append(Tried(attack.id, attack.entry.role, variant, place[claim.budget], verified, claim))

    run.run(attack, cell.target, verifier.items, attempt, verify, kind=InjectionOutcome)
