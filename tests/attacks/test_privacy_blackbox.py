"""Black-box GraphMI: what it asks and how often, its estimate, planted links found, and nothing where nothing is."""

import dataclasses

import numpy as np
import pytest
import torch

from attacks.privacy.blackbox_graphmi import BlackboxGraphMI, _drawn
from auditor import registry
from auditor.errors import ConfigError, SkippedError
from auditor.parameters import build
from auditor.probe import Asks, Attempt
from auditor.statistics.pair_scores import row_cosine
from auditor.statistics.ranking import Ranking, auc
from auditor.view import Access, SideKnowledge, grant_privacy
from tests.toys import sbm_graph, toy_target

ACCESS = frozenset(map(Access, registry.find("attacks", "blackbox-graphmi").access))
N = 24


def attempt(seed=0):
    return Attempt(np.random.default_rng(seed), torch.Generator().manual_seed(seed))


def view_of(target, side=None):
    return grant_privacy(target, ACCESS, side or SideKnowledge(), np.random.default_rng(0))


def all_pairs(n):
    return torch.combinations(torch.arange(n)).T.contiguous()


def area(outcome, is_edge):
    return auc(Ranking(outcome.score(all_pairs(N)).numpy(), is_edge.numpy()).curve())


class Partners(torch.nn.Module):
    """Knows the class of a node, and says it where the node is linked to its partner (2i and 2i + 1) alone."""

    def __init__(self, y):
        super().__init__()
        self.register_buffer("y", y)
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, x, edge_index):
        partner = edge_index[1][(edge_index[0] ^ 1) == edge_index[1]]
        linked = torch.zeros(x.shape[0], dtype=torch.bool).index_fill(0, partner, True)
        said = torch.where(linked, self.y, (self.y + 1) % 3)
        return 5.0 * torch.nn.functional.one_hot(said, 3) + 0 * self.weight


@pytest.fixture(scope="module")
def planted():
    u = torch.arange(0, N, 2)
    edges = torch.stack([torch.cat([u, u + 1]), torch.cat([u + 1, u])])
    graph = sbm_graph(N)
    graph = type(graph)(graph.x, edges, graph.y, name="partners")
    return dataclasses.replace(toy_target("gcn", graph=graph), model=Partners(graph.y), digest="partners")


def test_links_that_answers_hang_on_are_found_and_without_queries_they_are_not(planted):
    pairs = all_pairs(N)
    is_edge = (pairs[0] ^ 1) == pairs[1]
    attack, side = BlackboxGraphMI(k=N), SideKnowledge(density=1.0)
    found = attack.run(view_of(planted, side), attempt())
    assert found.notes["wrong_end"] < found.notes["wrong_start"] - 0.2
    assert area(found, is_edge) > 0.9
    assert isinstance(attack, Asks)
    assert area(attack.unasked().run(view_of(planted, side), attempt()), is_edge) < 0.7


def test_a_model_without_edges_moves_nothing():
    target = toy_target("mlp", graph=sbm_graph(N))
    found = BlackboxGraphMI(queries=201, k=N).run(view_of(target), attempt())
    assert found.notes["wrong_end"] == found.notes["wrong_start"]
    unasked = BlackboxGraphMI(queries=0, k=N).run(view_of(target), attempt())
    pairs = all_pairs(N)
    assert torch.equal(found.score(pairs), unasked.score(pairs))
    cosine = row_cosine(target.graph.x)(pairs)
    assert np.corrcoef(unasked.score(pairs).numpy(), cosine.numpy())[0, 1] == pytest.approx(1)


@pytest.mark.parametrize(("queries", "asked"), [(0, 0), (1, 1), (40, 1), (41, 41), (5_000, 4_961)])
def test_the_budget_is_kept_and_counted(queries, asked):
    view = view_of(toy_target("gcn", graph=sbm_graph(N)))
    BlackboxGraphMI(queries=queries, k=3).run(view, attempt())
    assert view.own_queries.asked == asked


def test_nothing_that_it_reads_holds_a_private_edge():
    graph = sbm_graph(N)
    target, noise = toy_target("gcn", graph=graph), torch.randint(N, (2, 100))
    other = dataclasses.replace(target, graph=type(graph)(graph.x, noise, graph.y, name="noise"), digest="noise")
    assert view_of(target).own_queries.graph.num_edges == 0
    first, second = (BlackboxGraphMI(queries=201, k=5).run(view_of(each), attempt()) for each in (target, other))
    assert torch.equal(first.score(all_pairs(N)), second.score(all_pairs(N)))


def test_draws_have_their_probability_and_the_second_avoids_the_first():
    a, rng = torch.tensor([0.0, 0.1, 0.5, 1.0]), torch.Generator().manual_seed(0)
    pairs = torch.stack([torch.stack(_drawn(a, rng)) for _ in range(4000)]).float()  # [draws, 2, M]
    torch.testing.assert_close(pairs.mean(dim=0), a.expand(2, 4), atol=0.03, rtol=0)
    both = (pairs[:, 0] * pairs[:, 1]).mean(dim=0)
    torch.testing.assert_close(both, torch.tensor([0.0, 0.0, 0.0, 1.0]), atol=1e-6, rtol=0)


def test_the_estimate_is_the_gradient_times_the_variance():
    """Of f(A) = <w, A> it is a (1 - a) w, and of alpha |a| the same share of its gradient."""
    a, w = torch.tensor([0.2, 0.5, 0.7, 0.1]), torch.tensor([1.0, -2.0, 0.5, 0.0])
    rng = torch.Generator().manual_seed(0)
    graphs = [each for _ in range(4000) for each in _drawn(a, rng)]
    wrong = torch.stack([(w * graph).sum() for graph in graphs]).double()
    attack, moved = BlackboxGraphMI(eta=0.01, alpha=3.0), a.clone()
    attack._step_(moved, graphs, wrong, budget=4.0)
    gradient = (a - moved) / 0.01 * float(wrong.std(correction=0))
    torch.testing.assert_close(gradient, a * (1 - a) * (w + 3.0 * a / a.norm()), atol=0.03, rtol=0)


def test_no_label_is_a_skip():
    view = view_of(toy_target("gcn", graph=sbm_graph(N)), SideKnowledge(labels="none"))
    with pytest.raises(SkippedError, match="label"):
        BlackboxGraphMI().run(view, attempt())


@pytest.mark.parametrize("words", [{"queries": "-1"}, {"pairs": "0"}, {"k": "0"}, {"eta": "0"}, {"alpha": "-1"}])
def test_bad_parameters_are_refused(words):
    (name,) = words
    with pytest.raises(ConfigError, match=f"blackbox-graphmi: {name}"):
        build(BlackboxGraphMI, words, owner="blackbox-graphmi")
