"""The network that `gap` serves: an encoder that sees no edge, noisy sums over neighbours, a head on all of them."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from auditor.data.graph import Graph, Split
from auditor.tasks import Task

HEAD_WIDTH, HEAD_DROPOUT = 32, 0.3


@dataclass(frozen=True, slots=True)
class Schedule:
    """Adam for `epochs` full-batch steps; the checkpoint with the best validation accuracy is kept."""

    lr: float
    weight_decay: float
    epochs: int


def make_encoder(features: int, hidden: int) -> nn.Module:
    """One layer [N, F] -> [N, h], before its rows are normalised."""
    return nn.Sequential(nn.Linear(features, hidden), nn.SELU())


class Served(nn.Module):
    """What was released, as buffers: `x0` [N, h] and the noisy sums `z1` … `zK` [N, h], before normalisation."""

    def hold(self, x0: Tensor, sums: list[Tensor]) -> None:
        """Keeps these; they are saved as `served.x0`, `served.z1` and so on."""
        for name, value in {"x0": x0, **{f"z{k}": z for k, z in enumerate(sums, start=1)}}.items():
            self.register_buffer(name, value)

    def sums(self) -> list[Tensor]:
        """Noisy sums z1 … zK [N, h]; none before a release."""
        return [value for name, value in self.named_buffers() if name != "x0"]


class GapModel(nn.Module):
    """Logits from [x0 | x1 | … | xK]: x0 encodes the features, x_k = rownormalise(A x_{k-1} + noise), loops left out.

    `noise` [K, N, h] is evaluation-only state and never saved: the draw behind the released sums, recovered by
    `serve_on` from the private graph, so that the model answers that graph from the release and an edited one by the
    same draw. Without it, and on a graph of another size, sums are exact. `for_adversary` takes it away.
    """

    noise: Tensor | None

    def __init__(self, encoder: nn.Module, hidden: int, hops: int, classes: int) -> None:
        super().__init__()
        self.hops, self.encoder = hops, encoder
        self.embedding = nn.Identity()  # its input is what the head sees: what the contract calls the embedding
        self.head = nn.Sequential(
            nn.Linear((hops + 1) * hidden, HEAD_WIDTH),
            nn.SELU(),
            nn.Dropout(HEAD_DROPOUT),
            nn.Linear(HEAD_WIDTH, classes),
        )
        self.served = Served()
        self.register_buffer("noise", None, persistent=False)

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None) -> Tensor:
        """[N', F] and [2, E] -> logits [N', C]; gradients flow to x and edge_weight."""
        rows = [self.encode(x)]
        for k in range(self.hops):
            z = neighbour_sums(rows[-1], edge_index, edge_weight)
            if self.noise is not None and self.noise.shape[1] == x.shape[0]:
                z = z + self.noise[k]
            rows.append(unit_rows(z.float()))
        return self.classify(rows)

    def encode(self, x: Tensor) -> Tensor:
        """x0, rows of norm 1 [N', h]."""
        return unit_rows(self.encoder(x))

    def classify(self, rows: list[Tensor]) -> Tensor:
        """Logits [N', C] from x0 … xK."""
        logits: Tensor = self.head(self.embedding(torch.cat(rows, dim=1)))
        return logits

    def answers(self) -> Tensor:
        """Logits from the release alone [N, C]: what is served, and no edge is read."""
        return self.classify([self.served.get_buffer("x0"), *(unit_rows(z) for z in self.served.sums())])

    def from_release(self, x: Tensor) -> Tensor:
        """See `auditor.targets.target.AnswersFromRelease`: a changed row reaches its own node's answer alone."""
        return self.classify([self.encode(x), *(unit_rows(z) for z in self.served.sums())])

    def serve_on(self, graph: Graph) -> None:
        """Recovers the noise draw, so that `graph` (the private one) is answered from the release."""
        before, draws = self.encode(graph.x), []
        for z in self.served.sums():
            draws.append(z.double() - neighbour_sums(before, graph.edge_index, graph.edge_weight))
            before = unit_rows(z)
        self.noise = torch.stack(draws).detach() if draws else None

    def with_nodes(self, ids: Tensor) -> GapModel:
        """A copy for a graph whose node i is node ids[i] of the fitted one (-1: unseen, no noise), ids int64 [N']."""
        other = copy.deepcopy(self)
        if self.noise is not None:
            other.noise = self.noise[:, ids.clamp_min(0)] * (ids >= 0)[:, None]
        return other

    def for_adversary(self) -> GapModel:
        """A copy that holds the weights and what was released, and not the noise draw."""
        other = copy.deepcopy(self)
        other.noise = None
        return other


def neighbour_sums(x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None) -> Tensor:
    """A x [N, h] in float64, loops left out: row v is the (weighted) sum of x_u over arcs u -> v.

    In float64 so that sum + (release - sum) is the float32 release again, in any order of the arcs.
    """
    source, to = edge_index
    messages = x.double()[source]
    weight = (source != to).double() if edge_weight is None else (source != to) * edge_weight.double()
    return torch.zeros(x.shape, dtype=torch.float64, device=x.device).index_add(0, to, messages * weight[:, None])


def unit_rows(x: Tensor) -> Tensor:
    """Every row divided by its norm; a zero row stays zero."""
    return functional.normalize(x, dim=1)


def fit(model: nn.Module, inputs: Tensor, y: Tensor, split: Split, schedule: Schedule) -> nn.Module:
    """Trains `model` on rows [N, d] by cross-entropy of the training rows, in place; returns it in eval mode.

    Draws dropout from torch's global generator: call it inside `forked_rng`.
    """
    optimizer = torch.optim.Adam(model.parameters(), lr=schedule.lr, weight_decay=schedule.weight_decay)
    best, kept = -1.0, None
    for _ in range(schedule.epochs):
        model.train()
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(inputs[split.train]), y[split.train])
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if split.val.any():
            model.eval()
            with torch.no_grad():
                accuracy = float(Task("node").quality(model(inputs[split.val]), y[split.val]).mean())
            if accuracy > best:
                best, kept = accuracy, copy.deepcopy(model.state_dict())
    if kept is not None:
        model.load_state_dict(kept)
    return model.eval()
