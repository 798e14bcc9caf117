"""One node of a large graph after a few flips, by layers that add up or average: only what the node reads is run.

Let the node be v, and L the layers. After flips other rows than before are those of nodes within L - 1 steps of an end
of a flip; what v is told comes from within L steps; and only nodes within L steps have a gradient of v's outputs. These
nodes are run, on really edited arcs and degrees. What they read of all others stays as on the clean graph, and is kept:
the messages of every layer, one row a node. So the gradient of *every* pair is exact, those of far nodes too.

It is tried, never believed: whoever uses it compares the first of it with the whole graph.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.layer_stack import at_pairs
from attacks.robustness.losses import Outputs
from attacks.robustness.sparse_flips import SparseModel
from auditor.data.keys import distinct, order_of
from auditor.targets.surroundings import Parts


@dataclass(frozen=True, slots=True, eq=False)
class SparseNear:
    """A model, its clean graph, and what its nodes tell each other there.

    Attributes:
        model: the model on sparse products.
        parts: looks around nodes of the graph.
        told: what is summed over neighbours in each layer, the last one first: float32 [N, H1 + H2 + …].
        widths: columns of each of them, the first layer first.
    """

    model: SparseModel
    parts: Parts
    told: Tensor
    widths: tuple[int, ...]

    @classmethod
    def of(cls, model: SparseModel, parts: Parts) -> SparseNear:
        """One forward pass over the whole graph."""
        seen: list[Tensor] = []
        rows = model.arcs.rows(torch.ones(model.place.shape[0]))

        def multiply(h: Tensor) -> Tensor:
            seen.append(h.detach().clone())
            return rows.times(h)

        with torch.no_grad():
            model.stack.logits(multiply, model.degrees)
        return cls(model, parts, torch.cat(seen[::-1], dim=1), tuple(h.shape[1] for h in seen))

    def logits(self, node: int, path: Tensor) -> Tensor:
        """Of `node` after the flips `path`, int64 [k]: [1, C], as on the whole graph up to the order of sums."""
        ends = torch.cat(self.model.space.ends(path))
        read = self.parts.around(torch.tensor([node]), path, len(self.widths) - 1)
        ids = distinct(torch.cat([read, ends]))
        with torch.no_grad():
            return _Run(self, ids, path).logits[_place(ids, node)]

    def ahead(
        self, node: int, y: int, path: Tensor, others: Tensor, outputs: Outputs, most: int
    ) -> tuple[Tensor, Tensor] | None:
        """How far the largest other classes are above the true one after a path, and where pairs would take it.

        Args:
            node: whose outputs they are.
            y: its class.
            path: flips that are made, int64 [k].
            others: pairs that may be flipped besides, int64 [R].
            outputs: how the model's outputs are read.
            most: classes, of the largest outputs first.

        Returns:
            (value of each class [C'], gradient at weight 0 of each pair [C', R]); None where a layer has no part in
            the outputs.
        """
        layers = len(self.widths)
        read = [self.parts.around(torch.tensor([node]), path, layers)]
        if path.numel():
            read.append(self.parts.around(torch.cat(self.model.space.ends(path)), path, layers - 1))
        ids = distinct(torch.cat(read))
        run = _Run(self, ids, path)
        scores = outputs.read(run.logits[_place(ids, node)])[0]
        count = min(most, scores.numel() - 1)
        rivals = torch.topk(scores.detach().index_fill(0, torch.tensor([y]), float("-inf")), count).indices
        pairs, told = _Pairs.of(self, ids, others), self.told
        values, gradients = [], []
        for k, rival in enumerate(rivals.tolist()):
            value = scores[rival] - scores[y]
            p, q, own = self.model.stack.sides(value, again=k + 1 < count)
            if tuple(each.shape[1] for each in reversed(q)) != self.widths:
                return None
            if k == 0:
                told = told.index_copy(0, ids, torch.cat(q, dim=1))
            values.append(float(value.detach()))
            gradients.append(pairs.gradient(torch.cat(p, dim=1), told, own))
        return torch.tensor(values), torch.stack(gradients)


class _Run:
    """One forward pass of some nodes, ascending, on the arcs that lead to them after some flips."""

    def __init__(self, near: SparseNear, ids: Tensor, path: Tensor) -> None:
        model = near.model
        source, target = near.parts.arcs_into(ids, path)
        place = torch.searchsorted(ids, source).clamp_max_(ids.numel() - 1)
        inside = ids[place] == source
        self._from, self._to = place[inside], target[inside]
        self._outer, self._outer_to = source[~inside], target[~inside]
        self._near, self._layer, self._size = near, 0, ids.numel()
        degrees = torch.bincount(target, minlength=ids.numel()).float()
        self.logits = model.stack.logits(self._multiply, degrees, ids)
        self._layer = -1  # what follows is a backward pass: no gradient comes from outside

    def _multiply(self, h: Tensor) -> Tensor:
        summed = torch.zeros_like(h).index_add_(0, self._to, h[self._from])
        if self._layer < 0 or not self._outer.numel():
            return summed
        widths = self._near.widths
        start = sum(widths[self._layer + 1 :])
        told = self._near.told[:, start : start + widths[self._layer]]
        self._layer += 1
        return summed.index_add_(0, self._outer_to, told[self._outer])


@dataclass(frozen=True, slots=True, eq=False)
class _Pairs:
    """Pairs whose gradients are read off what is left behind by backward passes over some nodes.

    Attributes:
        near: whose graph it is.
        ids: the nodes that are run.
        u, v: ends of the pairs, int64 [R] each.
        sign: of the weight that a flip adds to its pair, [R].
        owner: for each row of `at`, the pair that it is of, int64 [M].
        at: (place among the run nodes, node), ascending by the former: a pair has one for each end that is run.
    """

    near: SparseNear
    ids: Tensor
    u: Tensor
    v: Tensor
    sign: Tensor
    owner: Tensor
    at: Tensor

    @classmethod
    def of(cls, near: SparseNear, ids: Tensor, keys: Tensor) -> _Pairs:
        u, v = near.model.space.ends(keys)
        place = torch.full((near.told.shape[0],), -1, dtype=torch.int64)
        place[ids] = torch.arange(ids.numel())
        mine, other = torch.cat([place[u], place[v]]), torch.cat([v, u])
        run = torch.nonzero(mine >= 0).flatten()
        owner = run % max(1, keys.numel())
        mine, other = mine[run], other[run]
        order = order_of(mine * near.told.shape[0] + other)
        at = torch.stack([mine, other])[:, order]
        sign = torch.where(near.model.space.exists(keys), -1.0, 1.0)
        return cls(near, ids, u, v, sign, owner[order], at)

    def gradient(self, p: Tensor, told: Tensor, own: Tensor) -> Tensor:
        """dL/dw of each pair at weight 0, [R], from the sides of all layers, the last one first.

        Args:
            p: of the nodes that are run, [n, H1 + H2 + …].
            told: the other side, of all nodes, [N, H1 + H2 + …].
            own: through the degrees of the nodes that are run, [n].
        """
        through = torch.zeros(told.shape[0]).index_copy_(0, self.ids, own)
        found = through[self.u] + through[self.v]
        found.index_add_(0, self.owner, at_pairs(p, told, self.at))
        return torch.nan_to_num(self.sign * found)


def _place(ids: Tensor, node: int) -> Tensor:
    return torch.searchsorted(ids, torch.tensor([node]))
