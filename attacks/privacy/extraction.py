"""Model extraction: asks about a few nodes of its own, and trains a network of its own on the answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field
from scipy.sparse import csr_array
from torch import Tensor
from torch.nn import functional
from torch_geometric.nn.conv.gcn_conv import gcn_norm
from torch_geometric.nn.inits import glorot

from attacks.privacy.neighbours import nearest
from auditor.errors import SkippedError
from auditor.outcomes import CopyOutcome
from auditor.parameters import Only, parameters
from auditor.probe import Attempt
from auditor.statistics.pair_scores import is_sparse, log_posteriors
from auditor.targets.own_queries import OwnQueries
from auditor.targets.rng import forked_rng
from auditor.targets.sparse_product import sparse_product
from auditor.view import View


@parameters
class Extraction:
    """Trains a two-layer GCN on what the model answers about some nodes of a graph of the adversary's own.

    Exact posteriors p are learned by their logarithms, since those are the model's logits up to a constant for each
    node: mean over the answered nodes of sum_c (z_c − l_c)², with z the copy's logits and l = log p, each less its
    mean over the classes. Answers that are rounded, cut or a class alone have no such logarithms: there the loss is the
    Kullback–Leibler divergence KL(p || q) from the copy's posteriors q, a constant left out, −sum_c p_c log q_c. All
    its nodes are seen, none of the others' answers. Without edges a GCN is a two-layer network on features.

    Attributes:
        structure: edges that the adversary has among its nodes: `own`, the real ones; `knn`, the nearest by features
            that it makes up; `none`.
        answers: what it learns from: `posteriors`, or `labels`, the largest one alone.
        loss: `by-answers` as above, or `kl` whatever the answers are.
        neighbours: of `knn`.
        hidden: units of the copy.
        epochs: steps of Adam at 0.01, weight decay 5e-4, dropout 0.5.

    Source: Wu et al., "Model extraction attacks on graph neural networks: taxonomy and realisation", AsiaCCS 2022;
    Shen et al., "Model stealing attacks against inductive graph neural networks", S&P 2022 (the three structures).
    """

    structure: Literal["own", "knn", "none"] = "own"
    answers: Literal["posteriors", "labels"] = "posteriors"
    loss: Annotated[Literal["by-answers", "kl"], Only(beside="answers", being=("posteriors",))] = "by-answers"
    neighbours: Annotated[int, Field(ge=1), Only(beside="structure", being=("knn",))] = 5
    hidden: Annotated[int, Field(ge=1)] = 64
    epochs: Annotated[int, Field(ge=1)] = 200

    def run(self, view: View, attempt: Attempt) -> CopyOutcome:
        """What the copy answers for every node of the adversary's graph.

        Raises:
            SkippedError: no answer is finite.
        """
        queries = view.own_queries
        graph = queries.graph
        edge_index = self._edges(graph.x, graph.edge_index)
        answered = queries.ask(edge_index)
        finite = torch.isfinite(answered).all(dim=1)
        if not finite.any():
            raise SkippedError("no answer of the model is finite, so that there is nothing to learn from")
        nodes, loss = queries.nodes[finite], self._loss(answered[finite], queries)
        forward = _network(graph.x, edge_index)
        with forked_rng(int(attempt.rng.integers(2**31))):
            weights = _initial(graph.num_features, self.hidden, view.num_classes)
            optimizer = torch.optim.Adam(weights, lr=0.01, weight_decay=5e-4)
            for _ in range(self.epochs):
                optimizer.zero_grad()
                loss(forward(weights, 0.5)[nodes]).backward()  # type: ignore[no-untyped-call]
                optimizer.step()
        with torch.no_grad():
            classes = forward(weights, 0.0).argmax(dim=1)
        return CopyOutcome(edge_index, classes, {"structure": self.structure, "answers": self.answers})

    def _edges(self, x: Tensor, own: Tensor) -> Tensor:
        """The edges of the adversary's graph, int64 [2, E']."""
        if self.structure == "own":
            return own
        if self.structure == "none":
            return torch.empty(2, 0, dtype=torch.int64)
        n = x.shape[0]
        keys = nearest(x, self.neighbours)
        u, v = keys // n, keys % n
        return torch.stack([torch.cat([u, v]), torch.cat([v, u])])

    def _loss(self, answered: Tensor, queries: OwnQueries) -> Callable[[Tensor], Tensor]:
        """Loss of the copy's logits [q, C] beside the answers [q, C]."""
        p = answered.softmax(dim=1) if queries.outputs == "logits" else answered.clamp_min(0)
        p = p / p.sum(dim=1, keepdim=True).clamp_min(1e-12)  # rounded ones need not add up to 1
        if self.answers == "labels":
            p = functional.one_hot(p.argmax(dim=1), p.shape[1])
        elif self.loss == "by-answers" and not queries.is_coarse:
            log_p = _centred(log_posteriors(p)).float()
            return lambda z: ((_centred(z) - log_p) ** 2).sum(dim=1).mean()
        wanted = p.float()
        return lambda z: -(wanted * z.log_softmax(dim=1)).sum(dim=1).mean()


def _centred(rows: Tensor) -> Tensor:
    """Less the mean of each row."""
    return rows - rows.mean(dim=1, keepdim=True)


def _initial(features: int, hidden: int, classes: int) -> list[Tensor]:
    """Weights and biases of both layers as a GCN of PyG has them at first."""
    weights = [torch.empty(features, hidden), torch.zeros(hidden), torch.empty(hidden, classes), torch.zeros(classes)]
    for layer in weights[::2]:
        glorot(layer)
    return [each.requires_grad_() for each in weights]


def _network(x: Tensor, edge_index: Tensor) -> Callable[[Sequence[Tensor], float], Tensor]:
    """A two-layer GCN on one graph, (weights, dropout) -> logits [n, C].

    A relu(A X W + b) W' + b', with A the normalised adjacency with loops (Kipf and Welling, ICLR 2017).
    """
    n = x.shape[0]
    arcs, weight = gcn_norm(edge_index, num_nodes=n)
    adjacency = _Sparse(csr_array((weight.numpy(), (arcs[1].numpy(), arcs[0].numpy())), shape=(n, n)))
    rows = _Sparse(csr_array(x.numpy())) if is_sparse(x) else x

    def forward(weights: Sequence[Tensor], dropout: float) -> Tensor:
        first, bias, second, last = weights
        hidden = functional.dropout((adjacency @ (rows @ first) + bias).relu(), dropout)
        return adjacency @ (hidden @ second) + last

    return forward


class _Sparse:
    """A sparse matrix that dense ones with a gradient are multiplied by; torch's own products cost several times it."""

    def __init__(self, matrix: csr_array) -> None:
        self._sides = matrix, csr_array(matrix.T)

    def __matmul__(self, dense: Tensor) -> Tensor:
        return sparse_product(*self._sides, dense)
