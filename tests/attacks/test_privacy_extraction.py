"""Extraction: its network is PyG's GCN, without edges one on features; it asks what it may and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch_geometric.nn.models import GCN, MLP

from attacks.privacy.extraction import Extraction, _network, _Sparse
from auditor.errors import ConfigError
from auditor.parameters import build
from auditor.probe import Attempt
from auditor.registry import Access
from auditor.view import SideKnowledge, View, grant_privacy
from tests.toys import toy_target

ACCESS = frozenset({Access.OWN_QUERIES})
EDGES = torch.tensor([[0, 1, 1, 2, 3, 4, 0, 3], [1, 0, 2, 1, 4, 3, 3, 0]])


@pytest.fixture
def view() -> View:
    return grant_privacy(toy_target(epochs=20), ACCESS, SideKnowledge(), np.random.default_rng(0), with_own_graph=True)


def attempt(seed: int = 0) -> Attempt:
    return Attempt(np.random.default_rng(seed), torch.Generator())


@pytest.mark.parametrize("filled", [0.05, 0.9], ids=["sparse", "dense"])
def test_the_network_is_the_gcn_of_pyg(filled: float) -> None:
    x = torch.rand(5, 40) * (torch.rand(5, 40) < filled)
    theirs = GCN(40, 8, 2, 3).eval()
    first, second = theirs.convs
    weights = [first.lin.weight.T, first.bias, second.lin.weight.T, second.bias]
    torch.testing.assert_close(_network(x, EDGES)(weights, 0.0), theirs(x, EDGES))


def test_without_edges_it_is_a_network_on_features() -> None:
    x, nothing = torch.rand(5, 6), torch.empty(2, 0, dtype=torch.int64)
    theirs = MLP([6, 8, 3], norm=None).eval()
    weights = [part for layer in theirs.lins for part in (layer.weight.T, layer.bias)]
    torch.testing.assert_close(_network(x, nothing)(weights, 0.0), theirs(x))


def test_the_gradient_of_a_sparse_product_is_that_of_a_dense_one() -> None:
    from scipy.sparse import csr_array

    matrix = torch.rand(5, 4) * (torch.rand(5, 4) < 0.5)
    given = [torch.rand(4, 3, requires_grad=True)]
    given.append(given[0].detach().clone().requires_grad_())
    (_Sparse(csr_array(matrix.numpy())) @ given[0]).square().sum().backward()
    (matrix @ given[1]).square().sum().backward()
    torch.testing.assert_close(given[0].grad, given[1].grad)


def test_edges_are_its_own_the_nearest_by_features_or_none() -> None:
    x = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]])
    found = {word: Extraction(structure=word, neighbours=1)._edges(x, EDGES) for word in ("own", "knn", "none")}
    assert torch.equal(found["own"], EDGES)
    assert sorted(map(tuple, found["knn"].T.tolist())) == [(0, 1), (1, 0), (2, 3), (3, 2)]
    assert found["none"].shape == (2, 0)


def test_each_answer_is_counted_and_none_is_given_about_other_nodes(view: View) -> None:
    queries = view.own_queries
    assert queries.ids.numel() == 60
    assert queries.nodes.numel() == torch.unique(queries.nodes).numel() == 30
    assert int(queries.graph.y.sum()) == 0
    few = queries.first(7)
    outcome = Extraction(epochs=5).run(view.with_own_queries(few), attempt())
    assert few.spent == 7
    assert queries.spent == 0
    assert few.ask(outcome.edge_index).shape == (7, 3)


def test_other_answers_make_another_copy_and_equal_draws_the_same(view: View) -> None:
    def copy(queries):
        return Extraction(epochs=30).run(view.with_own_queries(queries), attempt()).classes

    same = torch.zeros(60, dtype=torch.int64)
    assert bool((copy(view.own_queries.answered_by(same, 3)) == 0).all())
    assert torch.equal(copy(view.own_queries), copy(view.own_queries))


@pytest.mark.parametrize("answers", ["posteriors", "labels"])
@pytest.mark.parametrize("side", [SideKnowledge(), SideKnowledge(served_digits=1), SideKnowledge(outputs="logits")])
def test_whatever_is_served_is_learned_from(answers: str, side: SideKnowledge) -> None:
    target = toy_target(epochs=60)
    view = grant_privacy(target, ACCESS, side, np.random.default_rng(0), with_own_graph=True)
    queries = view.own_queries
    assert queries.is_coarse == (side.served_digits is not None)
    outcome = Extraction(answers=answers, epochs=100).run(view, attempt())
    own = target.with_nodes(queries.ids).logits(queries.graph.x, outcome.edge_index).argmax(dim=1)
    assert float((outcome.classes == own)[queries.nodes].double().mean()) > 0.8


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"structure": "real"}, "own"),
        ({"answers": "logits"}, "posteriors"),
        ({"epochs": "0"}, "greater than or equal to 1"),
        ({"neighbours": "0"}, "greater than or equal to 1"),
    ],
)
def test_bad_parameters_are_refused(params: dict[str, str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        build(Extraction, params, owner="extraction")
