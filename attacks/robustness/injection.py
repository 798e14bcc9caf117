"""Added nodes whose edges and features push the weakest answers over: the old nodes and edges stay as they are."""

from __future__ import annotations

from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from attacks.robustness.added_rows import AddedRows, usual_bits
from attacks.robustness.alike import Alike
from attacks.robustness.attacked_graphs import AttackedGraphs
from attacks.robustness.feature_steps import Reader
from attacks.robustness.graph_injection import Writing, add_by_graph
from attacks.robustness.losses import margins, tanh_loss
from auditor.data.added_nodes import usual_edges, with_nodes
from auditor.data.feature_space import FeatureSpace
from auditor.errors import SkippedError
from auditor.outcomes import AddedNodes, InjectionOutcome
from auditor.parameters import Circumstances, Only, parameters
from auditor.probe import Attempt
from auditor.targets.capabilities import TRIAL_ERRORS
from auditor.view import View


def _no_step_before(here: Circumstances) -> str:
    return "steps=1 has no step before" if here.values["steps"] == 1 else ""


@parameters
class Injection:
    """Joins added nodes to the answers that are easiest to push over, and writes their features by gradient.

    Targets are the right answers with the smallest margin times the root of their degree and one, as many as there are
    edges, and again where there are more; sorted by the class that comes second, so that the targets of one added node
    are pushed the same way.
    Features follow the gradient with momentum: of bits as many as a node has on average, those with the largest; of
    values steps inside their range. The step that leaves fewest right answers is kept. Of many graphs each has its own:
    sixteen places for them are tried, and the place and step that leave its answer the least margin are kept.
    Where added nodes must be like their neighbours, each is pulled towards them no more than that takes.

    Attributes:
        steps: of the features.
        momentum: share of the step before.

    Source: node injection as in Zou et al., "TDGIA: Effective Injection Attacks on Graph Neural Networks", KDD 2021
    (targets of few edges first); features by sign steps. Likeness: Chen et al., "Understanding and Improving Graph
    Injection Attack by Promoting Unnoticeability" (HAO), ICLR 2022, as a bound and not as a term of the loss.
    """

    steps: Annotated[int, Field(ge=1)] = 25
    momentum: Annotated[float, Field(ge=0, lt=1), Only(unless=_no_step_before)] = 0.5

    def run(self, view: View, attempt: Attempt) -> InjectionOutcome:
        """One set of added nodes per budget.

        Raises:
            SkippedError: features that cannot be written, or a model that knows its own nodes only.
        """
        space = FeatureSpace.of(view.x)
        if view.task.level == "graph":
            return self._to_graphs(space, view, attempt)
        reader = Reader.of(view)
        if attempt.joins_items:
            reader = reader.near
        calls_before, each = reader.handle.calls, attempt.edges or usual_edges(view.graph)
        points: list[AddedNodes] = []
        weights = view.graph.edge_weight
        weight = None if weights is None else weights.median()  # of the whole graph, not of the part that is read
        for done, budget in enumerate(attempt.budgets):
            attempt.tick(done / len(attempt.budgets), f"injection: {budget} nodes")
            edges, alike = _joined(reader, budget, each), None  # in the numbering of the whole graph
            if attempt.likeness is not None:
                alike = Alike.of(space, edges, budget, usual_bits(space), attempt.likeness)
                edges = alike.edges
            try:
                points.append(self._written(space, reader, budget, edges, alike, weight))
            except TRIAL_ERRORS as error:
                raise SkippedError(f"the model cannot be asked about added nodes ({error})") from None
        notes: dict[str, Any] = {
            "calls": reader.handle.calls - calls_before,
            "output_scale": reader.outputs.scale,
            "edges_each": each,
        }
        return InjectionOutcome(tuple(points), ("tanh",) * len(points), notes)

    def _to_graphs(self, space: FeatureSpace, view: View, attempt: Attempt) -> InjectionOutcome:
        """The same of many graphs; their nodes in the numbering of all."""
        graphs, each = AttackedGraphs.of(view, space), attempt.edges or usual_edges(view.graph)
        reader, points = graphs.reader, list[AddedNodes]()
        weights = view.graph.edge_weight
        median = None if weights is None else weights.median()
        calls_before, writing = reader.handle.calls, Writing(space, each, self.steps, self.momentum, median)
        for done, (budget, own) in enumerate(zip(attempt.budgets, attempt.item_budgets, strict=True)):
            attempt.tick(done / len(attempt.budgets), f"injection: {budget} nodes")
            try:
                added = add_by_graph(graphs, budget, own, writing, attempt.rng)
                x = with_nodes(reader.graph, space.read(added.x), added.edges, added.graphs, weight=median)
                left = reader.right(x.x, x)
            except TRIAL_ERRORS as error:
                raise SkippedError(f"the model cannot be asked about added nodes ({error})") from None
            edges = torch.stack([added.edges[0], graphs.nodes[added.edges[1]]])
            of = None if added.graphs is None else view.items[added.graphs]
            points.append(AddedNodes(budget, added.x, edges, left, of))
        notes: dict[str, Any] = {
            "calls": reader.handle.calls - calls_before,
            "output_scale": reader.outputs.scale,
            "edges_each": each,
        }
        return InjectionOutcome(tuple(points), ("tanh",) * len(points), notes)

    def _written(
        self,
        space: FeatureSpace,
        reader: Reader,
        budget: int,
        edges: Tensor,
        alike: Alike | None,
        weight: Tensor | None,
    ) -> AddedNodes:
        """The added nodes with the best features found."""
        rows, here = AddedRows.start(space, budget, alike), torch.stack([edges[0], reader.places(edges[1])])
        best, fewest, speed = rows.raw, float("inf"), torch.zeros_like(rows.raw)
        for _ in range(self.steps):
            raw = rows.raw.clone().requires_grad_(True)
            graph = with_nodes(reader.graph, space.read(raw), here, weight=weight)
            loss = reader.loss(graph.x, tanh_loss, graph)
            (gradient,) = torch.autograd.grad(loss, raw)
            speed = self.momentum * speed + gradient.nan_to_num(0.0)
            rows = rows.moved(speed)
            with_rows = with_nodes(reader.graph, space.read(rows.raw), here, weight=weight)
            left = reader.right(with_rows.x, with_rows)
            if left < fewest:
                best, fewest = rows.raw, left
            if fewest == 0:
                break
        return AddedNodes(budget, best, edges, claimed_accuracy=fewest)


def _joined(reader: Reader, count: int, each: int) -> Tensor:
    """Edges of the added nodes, int64 [2, <= count * each]: the weakest answers, those of one second class together.

    Where there are more edges than right answers, each answer gets another edge before any gets a third.
    """
    graph, y = reader.graph, reader.y
    with torch.no_grad():
        z = reader.outputs.read(reader.logits(graph.x))
    margin = margins(z, y)
    second = z.scatter(1, y.unsqueeze(1), float("-inf")).argmax(dim=1)
    degree = torch.bincount(graph.edge_index[1], minlength=graph.num_nodes)[reader.items]
    cost = margin * (degree + 1).to(margin.dtype).sqrt()
    right = torch.nonzero(margin > 0).flatten()
    ranked, left = right[torch.argsort(cost[right], stable=True)], count * each
    rounds = []
    while left > 0 and ranked.numel():
        chosen = ranked[:left]
        rounds.append(chosen[torch.argsort(second[chosen], stable=True)])
        left -= chosen.numel()
    if not rounds:
        return torch.empty(2, 0, dtype=torch.int64)
    ends = reader.ids(reader.items[torch.cat(rounds)])
    distinct: Tensor = torch.unique(torch.stack([torch.arange(ends.numel()) // each, ends]), dim=1)
    return distinct
