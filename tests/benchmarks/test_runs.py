"""The benchmark of runs is itself right: graphs of one law in every size, and the exponent of a known growth."""

from __future__ import annotations

import torch

from auditor import registry
from auditor.document import from_bytes, to_bytes
from benchmarks.runs import growth
from benchmarks.runs.documents import repeated
from benchmarks.runs.graphs import DEGREE, HELD_OUT, HOMOPHILY, graph
from benchmarks.runs.growth import OVER, Cost, exponent, probes
from tests.reports import samples


def test_graphs_are_undirected_and_alike_in_every_size():
    for nodes in (4000, 10_000):
        drawn = graph(nodes)
        assert torch.equal(drawn.edge_index, graph(nodes).edge_index)
        assert not torch.equal(drawn.x, graph(nodes, seed=1).x)
        assert drawn.is_undirected()
        assert not drawn.has_self_loops()
        assert abs(drawn.num_edges / nodes - DEGREE) < 1  # a few pairs are drawn twice
        alike = float((drawn.y[drawn.edge_index[0]] == drawn.y[drawn.edge_index[1]]).double().mean())
        assert abs(alike - HOMOPHILY) < 0.03
        masks = torch.stack([drawn.train_mask, drawn.val_mask, drawn.test_mask])
        assert bool((masks.sum(dim=0) == 1).all())
        held = drawn.region == 0
        assert bool(drawn.test_mask[held].all())
        assert abs(float(held[drawn.test_mask].double().mean()) - HELD_OUT) < 0.05


def test_the_exponent_is_that_of_the_growth():
    assert exponent([100, 1000, 10_000], [2.0, 20.0, 200.0]) == "1.00 (1.00, 1.00)"
    assert exponent([100, 1000, 10_000], [1.0, 10.0, 1000.0]) == "1.50 (1.00, 2.00)"
    assert exponent([100], [1.0]) == "–"


def test_every_probe_of_standard_is_measured():
    found = probes()
    assert set(found) <= set(registry.probes())
    assert {"graphmi", "structure-evasion", "corruption"} <= set(found)
    assert set(growth.ASKED) <= set(found)


def test_what_is_measured_is_a_whole_cell_and_its_trainings_are_told_apart():
    costs = dict(growth.measured(500, ["checks", "heldout-domain", "embedding-similarity"], limit=60))
    assert all(not cost.why and cost.seconds > 0 and cost.peak_gb > 0.1 for cost in costs.values())
    assert costs["heldout-domain"].training == 0
    assert costs["embedding-similarity"].training > 0
    assert costs["checks"].seconds < costs["embedding-similarity"].seconds


def test_a_cell_over_the_limit_is_ended_and_said(monkeypatch):
    monkeypatch.setattr(growth, "GRACE_S", 1)

    def work():
        growth._limit(0)
        while True:
            pass

    cost = growth._in_a_copy(work)
    assert cost.why == OVER
    assert str(cost).startswith("> ")
    assert growth._in_a_copy(lambda: 1 / 0).why == "ended with exit code 1"
    assert str(Cost(0.0, why="skipped: nobody asked")) == "skipped: nobody asked"


def test_a_repeated_audit_has_its_size_and_agrees_with_itself():
    audit = samples.realistic()
    found = repeated(audit, 500_000)
    raw = to_bytes(found)
    assert 450_000 < len(raw) < 600_000
    assert from_bytes(raw) == found
    assert len(found.results) % len(audit.results) == 0
    assert len({result.fingerprint for result in found.results}) == len(found.results)
