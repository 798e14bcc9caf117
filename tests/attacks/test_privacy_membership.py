"""Membership attacks against numbers made by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from attacks.privacy.membership_lira import MembershipLira, distance_from_out, likelihood_ratio
from auditor.probe import Attempt
from auditor.statistics.margins import true_class_margin
from auditor.view import Access, References, SideKnowledge, View, grant_privacy, serve_alone
from tests.toys import toy_target

# Two models with the item at 1 and 3 (mean 2, deviation sqrt 2), two without at −1 and 1 (mean 0, the same deviation).
TABLE = torch.tensor([[1.0], [3.0], [-1.0], [1.0]], dtype=torch.float64)
INSIDE = torch.tensor([[True], [True], [False], [False]])


@pytest.mark.parametrize(("phi", "ratio"), [(1.0, 0.0), (2.0, 1.0), (0.0, -1.0)])
def test_likelihood_ratio_by_hand(phi: float, ratio: float) -> None:
    """(phi − 0)² / 4 − (phi − 2)² / 4: with s = sqrt 2 half of what it is with s = 1."""
    assert float(likelihood_ratio(torch.tensor([phi]).double(), TABLE, INSIDE)) == pytest.approx(ratio)
    scaled = likelihood_ratio(torch.tensor([phi]).double(), 1 + (TABLE - 1) * 1.0, INSIDE)
    assert float(scaled) == pytest.approx(ratio)


def test_likelihood_ratio_with_unit_deviation() -> None:
    """m_in = 2, m_out = 0, s = 1: phi 1 → 0, phi 2 → 2."""
    half = 0.5**0.5
    table = torch.tensor([[2 - half], [2 + half], [-half], [half]], dtype=torch.float64)
    for phi, ratio in ((1.0, 0.0), (2.0, 2.0)):
        assert float(likelihood_ratio(torch.tensor([phi]).double(), table, INSIDE)) == pytest.approx(ratio)
    assert float(distance_from_out(torch.tensor([2.0]).double(), table, INSIDE)) == pytest.approx(2.0)


def view_of(phi: list[float], references: References, access: frozenset[Access]) -> View:
    """A view that answers with these margins of two classes, the true one first."""
    target = toy_target(epochs=1)
    view = grant_privacy(
        target, access - {Access.OWN_QUERIES}, SideKnowledge(outputs="logits"), np.random.default_rng(0)
    )
    n = len(phi)
    held = {
        "posteriors": torch.tensor([[each, 0.0] for each in phi], dtype=torch.float64),
        "outputs": "logits",
        "y": torch.zeros(n, dtype=torch.int64),
        "known": torch.ones(n, dtype=torch.bool),
        "references": references,
    }
    return View(access - {Access.OWN_QUERIES}, n, 2, view.task, held)


ACCESS = frozenset({Access.POSTERIORS, Access.LABELS, Access.REFERENCES})


def test_rmia_counts_the_candidates_that_gain_less() -> None:
    """Q = p / pbar is .8/.5 = 1.6, .6/.5 = 1.2 and .4/.5 = .8."""
    phi = [float(np.log(p / (1 - p))) for p in (0.8, 0.6, 0.4)]
    references = References(
        candidates=torch.ones(3, dtype=torch.bool),
        trained_on=torch.tensor([[True] * 3, [False] * 3]),
        margins={"full": torch.zeros(2, 3, dtype=torch.float64)},
    )
    attempt = Attempt(np.random.default_rng(0), torch.Generator())
    found = MembershipLira(form="rmia", mode="online").run(view_of(phi, references, ACCESS), attempt)
    assert found.scores[0].tolist() == pytest.approx([1.0, 2 / 3, 1 / 3])
    offline = MembershipLira(form="rmia", mode="offline").run(view_of(phi, references, ACCESS), attempt)
    assert offline.notes["mode"] == "offline"
    assert offline.scores[0].tolist() == pytest.approx([1.0, 2 / 3, 1 / 3])


def test_few_models_each_way_are_read_offline_and_nobody_else_lowers_a_score() -> None:
    references = References(
        candidates=torch.tensor([True, True, False]),
        trained_on=torch.tensor([[True, False, False], [False, True, False]] * 3),
        margins={"full": torch.randn(6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))},
    )
    attempt = Attempt(np.random.default_rng(0), torch.Generator())
    found = MembershipLira().run(view_of([0.0, 1.0, 2.0], references, ACCESS), attempt)
    assert found.notes["mode"] == "offline"
    assert bool(torch.isfinite(found.scores).all())
    eight = References(
        references.candidates, references.trained_on.repeat(2, 1), {"full": references.margins["full"].repeat(2, 1)}
    )
    online = MembershipLira().run(view_of([0.0, 1.0, 2.0], eight, ACCESS), attempt)
    assert online.notes["mode"] == "online"
    assert bool(torch.isfinite(online.scores).all()), "an item that no model was trained on scores least"


def test_margins_are_the_same_from_logits_and_probabilities_and_do_not_saturate() -> None:
    logits = torch.tensor([[3.0, 1.0, 0.0], [60.0, 0.0, 1.0], [80.0, 0.0, 1.0]], dtype=torch.float64)
    y = torch.zeros(3, dtype=torch.int64)
    by_logits = true_class_margin(logits, y, outputs="logits")
    by_probs = true_class_margin(logits.softmax(dim=1), y, outputs="probs")
    torch.testing.assert_close(by_probs, by_logits, rtol=1e-9, atol=1e-9)
    assert by_logits[0] == pytest.approx(3.0 - np.log(np.e + 1))
    assert by_logits.unique().numel() == 3
    rounded = true_class_margin(torch.tensor([[1.0, 0.0]]), y[:1], outputs="probs", digits=2)
    assert float(rounded) == pytest.approx(np.log(1 / 0.005))


class Coupled(torch.nn.Module):
    """Every node sees the mean of all: what is said of one depends on who else is asked about."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(24, 3)

    def forward(self, x: torch.Tensor, edge_index: torch.Tensor) -> torch.Tensor:
        return self.layer(x - x.mean(dim=0)) if len(x) > 1 else self.layer(x)


def test_a_node_is_asked_about_alone_where_others_change_the_answer() -> None:
    import dataclasses

    target = toy_target(epochs=1)
    g = target.graph
    together = serve_alone(target, SideKnowledge(outputs="logits"))
    empty = target.logits(g.x, torch.empty(2, 0, dtype=torch.int64))
    torch.testing.assert_close(together, empty.double())
    coupled = dataclasses.replace(target, model=Coupled())
    own = serve_alone(coupled, SideKnowledge(outputs="logits"))
    torch.testing.assert_close(own, coupled.model.layer(g.x).double(), rtol=1e-5, atol=1e-5)
