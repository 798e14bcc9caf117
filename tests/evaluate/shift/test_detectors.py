from __future__ import annotations

import pytest
import torch

from auditor.evaluate.shift.detectors import detector_scores, energy_undefined, propagate
from tests.toys import sbm_graph, small_graphs

PATH = torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]])


def test_propagation_on_a_path_by_hand():
    found = propagate(torch.tensor([0.0, 1, 2, 4], dtype=torch.float64), PATH)
    assert found.tolist() == [0.75, 1.0, 1.25, 4.0]  # the isolated node keeps its energy


def test_the_published_rule_shrinks_isolated_nodes():
    found = propagate(torch.tensor([0.0, 1, 2, 4], dtype=torch.float64), PATH, isolated="decay")
    assert found.tolist() == [0.75, 1.0, 1.25, 1.0]


def test_a_loop_is_no_neighbour():
    loops = torch.cat([PATH, torch.tensor([[3, 0], [3, 0]])], dim=1)
    energy = torch.tensor([0.0, 1, 2, 4], dtype=torch.float64)
    assert torch.equal(propagate(energy, loops), propagate(energy, PATH))


def test_scores_of_logits_by_hand():
    graph, logits = small_graphs(2), torch.tensor([[2.0, 0.0], [30.0, -90.0]])
    found = detector_scores(logits, graph)
    assert found["msp"].tolist() == pytest.approx([-0.126928, -7.7e-53], abs=1e-6)
    assert found["msp"][1] < 0  # a float32 probability would be 1.0, and make ties
    assert found["max-logit"].tolist() == [2.0, 30.0]
    assert found["energy"].tolist() == pytest.approx([2.126928, 30.0], abs=1e-6)
    assert "energy-prop" not in found


def test_energy_is_left_out_for_a_model_that_ends_in_log_softmax():
    graph = sbm_graph(60)
    logits = torch.randn(60, 3, generator=torch.Generator().manual_seed(0))
    assert set(detector_scores(logits, graph)) == {"msp", "max-logit", "energy", "energy-prop"}
    assert set(detector_scores(logits.log_softmax(1), graph)) == {"msp"}
    assert "normalised" in str(energy_undefined(logits.log_softmax(1)))
    assert set(detector_scores(logits.softmax(1), graph)) == {"msp"}
    for output in (logits.log_softmax(1), logits.softmax(1)):
        assert torch.allclose(detector_scores(output, graph)["msp"], detector_scores(logits, graph)["msp"], atol=1e-5)


def test_a_row_that_is_not_finite_scores_lowest_and_leaves_the_others_alone():
    graph = small_graphs(3)
    logits = torch.tensor([[1.0, 0.0], [torch.nan, 0.0], [3.0, torch.inf]])
    found = detector_scores(logits, graph)
    for score in found.values():
        assert torch.isinf(score[1:]).all()
        assert torch.isfinite(score[0])
