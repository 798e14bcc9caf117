"""The joint head: hand-computed marginals and losses, symmetry, gradients, chunks; merging on a hand-made graph."""

from __future__ import annotations

import pytest
import torch

from auditor.data.graph import Graph
from defenses.joint_cluster import heads
from defenses.joint_cluster.heads import JointHead, LowRankHead, joint_loss, make_joint_head, marginal, marginal_of
from defenses.joint_cluster.merge import merge_small
from defenses.joint_cluster.training import Clusters


@pytest.mark.parametrize(
    ("scores", "tau", "expected"),
    [
        (((1.0, 2), (3, 4)), 1.0, (0.3, 0.7)),
        (((1.0, 2), (3, 4)), 0.5, (5 / 30, 25 / 30)),
        (((8.0, 1), (6, 5)), 1.0, (9 / 20, 11 / 20)),  # class 1 ...
        (((8.0, 1), (6, 5)), 0.5, (65 / 126, 61 / 126)),  # ... and class 0: the argmax depends on tau
    ],
)
def test_marginal_by_hand(scores, tau: float, expected) -> None:
    out = marginal_of(torch.tensor([scores]).log(), tau).exp()
    torch.testing.assert_close(out, torch.tensor([expected]))


def test_loss_by_hand_and_never_below_the_entropy_of_the_mixture() -> None:
    scores = torch.tensor([[[1.0, 2], [3, 4]]], dtype=torch.float64).log()
    y, q = torch.tensor([0]), torch.tensor([[0.75, 0.25]], dtype=torch.float64)
    loss = joint_loss(scores, scores.transpose(1, 2), y, q, 1.0)
    assert float(loss) == pytest.approx(2.129298, abs=1e-6)
    rng = torch.Generator().manual_seed(0)
    for _ in range(50):
        q = torch.rand(9, 4, generator=rng, dtype=torch.float64).softmax(dim=1)
        y = torch.randint(4, (9,), generator=rng)
        first, second = (torch.randn(9, 4, 4, generator=rng, dtype=torch.float64) * 3 for _ in range(2))
        entropy = -(q * q.log()).sum(dim=1).mean()
        assert joint_loss(first, second, y, q, 1.0) >= entropy


def test_swapping_inputs_and_targets_leaves_the_loss_unchanged() -> None:
    rng = torch.Generator().manual_seed(0)
    first, second = (torch.randn(5, 3, 3, generator=rng) for _ in range(2))
    y, q = torch.tensor([0, 1, 2, 1, 0]), torch.rand(5, 3, generator=rng).softmax(dim=1)
    swapped = joint_loss(second.transpose(1, 2), first.transpose(1, 2), y, q, 1.0)
    torch.testing.assert_close(joint_loss(first, second, y, q, 1.0), swapped)


@pytest.mark.parametrize("rank", [None, 2])
def test_chunks_change_nothing_and_rows_sum_to_one(rank: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    head, z, prototypes = make_joint_head(4, 3, rank), torch.randn(50, 4), torch.randn(6, 4)
    place = torch.arange(50) % 6
    whole = marginal(head, z, prototypes, place, 0.7)
    monkeypatch.setattr(heads, "BLOCK_BYTES", 4 * 9 * 7)  # seven rows at a time
    torch.testing.assert_close(marginal(head, z, prototypes, place, 0.7), whole, atol=1e-6, rtol=0)
    torch.testing.assert_close(whole.exp().sum(dim=1), torch.ones(50), atol=1e-6, rtol=0)


def test_marginal_of_the_low_rank_head_moves_with_the_prototype_and_an_additive_one_does_not() -> None:
    torch.manual_seed(0)
    head, z, m = LowRankHead(4, 3, 2), torch.randn(20, 4), torch.randn(20, 4)
    with torch.no_grad():
        moved = (marginal_of(head(z, m), 1.0) - marginal_of(head(z, m + 1), 1.0)).abs().max()
        assert moved > 1e-3
        head.left.weight.zero_()  # what is left is additive: the joint factorises
        moved = (marginal_of(head(z, m), 1.0) - marginal_of(head(z, m + 1), 1.0)).abs().max()
    assert moved < 1e-6


def test_parameter_counts_are_those_of_the_formulas() -> None:
    d, c, r = 5, 7, 3
    assert sum(p.numel() for p in JointHead(d, c).parameters()) == (2 * d + 1) * c * c
    assert sum(p.numel() for p in LowRankHead(d, c, r).parameters()) == 2 * d * c * (1 + r) + 2 * c


@pytest.mark.parametrize("rank", [None, 2])
def test_gradient_through_the_prototypes_agrees_with_differences(rank: int | None) -> None:
    torch.manual_seed(0)
    head = make_joint_head(3, 2, rank).double()
    y, place = torch.tensor([0, 1, 1, 0, 1]), torch.tensor([0, 0, 1, 1, 1])
    q = torch.tensor([[0.5, 0.5], [1 / 3, 2 / 3]], dtype=torch.float64)[place]

    def loss(z: torch.Tensor) -> torch.Tensor:
        m = torch.stack([z[:2].mean(dim=0), z[2:].mean(dim=0)])[place]
        return joint_loss(head(z, m), head(m, z), y, q, 0.8)

    assert torch.autograd.gradcheck(loss, torch.randn(5, 3, dtype=torch.float64, requires_grad=True))


def merged(assign: list[int], train: list[int], edges: list[tuple[int, int]], least: int):
    return merge_small(
        torch.tensor(assign), torch.tensor(train), torch.tensor(edges, dtype=torch.int64).reshape(-1, 2).T, least
    )


def test_merging_by_hand() -> None:
    # Clusters of two nodes each: 0 and 1 small, 2 and 3 large enough; cluster 0 shares 1 edge with 1, 2 with 2.
    assign = [0, 0, 1, 1, 2, 2, 3, 3]
    edges = [(0, 2), (0, 4), (1, 5), (2, 6)]
    out = merged(assign, [0, 4, 5, 6, 7, 2], edges, 2)
    # 0 (one training node) goes to 2 with two edges; 1 then shares one edge with 2 (2-0) and one with 3 (2-6):
    # the larger occupancy, 2, wins.
    assert out.assign.tolist() == [0, 0, 0, 0, 0, 0, 1, 1]
    assert (out.clusters, out.merged, out.fallback) == (2, 2, 0)


def test_ties_go_to_the_lower_id() -> None:
    assert merged([0, 1, 1, 2, 2], [0, 1, 2, 3, 4], [(0, 1), (0, 3)], 2).assign.tolist() == [0, 0, 0, 1, 1]
    # Two small clusters: the lower id is taken first, and then both are one.
    assert merged([0, 1, 2, 2], [0, 1, 2, 3], [(0, 1), (1, 2)], 2).assign.tolist() == [0, 0, 1, 1]


def test_a_small_cluster_without_a_neighbour_is_fallback_and_its_mean_is_of_kept_clusters_only() -> None:
    out = merged([0, 0, 1, 1, 2], [0, 1, 2, 3, 4], [(0, 1), (0, 2)], 2)
    assert out.assign.tolist() == [0, 0, 1, 1, -1]
    assert out.fallback == 1
    graph = Graph(torch.ones(5, 1), torch.empty(2, 0, dtype=torch.int64), torch.tensor([0, 0, 0, 1, 1]))
    train = torch.arange(5)
    clusters = Clusters.of(out, graph, train, train, 2)
    torch.testing.assert_close(clusters.q[2], torch.tensor([0.75, 0.25]))  # node 4 of class 1 is not in it
    assert clusters.members.tolist() == [0, 1, 2, 3]
    assert clusters.place.tolist() == [0, 0, 1, 1, 2]


def test_when_no_cluster_is_large_enough_all_are_one() -> None:
    out = merged([0, 1, 2, 3], [0, 1, 2, 3], [], 2)
    assert out.assign.tolist() == [0, 0, 0, 0]
    assert out.clusters == 1


def test_every_cluster_kept_has_enough_training_nodes() -> None:
    rng = torch.Generator().manual_seed(0)
    for least in (1, 3, 8):
        assign = torch.randint(30, (200,), generator=rng)
        train = torch.randperm(200, generator=rng)[:60]
        out = merge_small(assign, train, torch.randint(200, (2, 400), generator=rng), least)
        assert int(torch.bincount(out.assign[train]).min()) >= least
        # Nodes of one cluster stay together.
        assert all(len(set(out.assign[assign == k].tolist())) == 1 for k in assign.unique())
