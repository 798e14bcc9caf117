"""The validity rows of a joint-cluster fit: each can fail, and a broken model is called invalid, not robust."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from auditor.compare.arms import fit_defended, make_defense
from auditor.runner.execute import TrainedCache
from auditor.targets.target import Capability, Target
from defenses.joint_cluster.trust import trust_rows
from tests.toys import sbm_graph, toy_target

BASE = toy_target(graph=sbm_graph(240), epochs=2)


def fitted(spec: str) -> Target:
    return fit_defended(BASE, make_defense(spec), seed=0, models=TrainedCache())


class Broken(nn.Module):
    """Answers in a way that no joint-cluster model may."""

    def __init__(self, kind: str, classes: int) -> None:
        super().__init__()
        self.kind, self.lin = kind, nn.Linear(1, classes)

    def forward(self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None = None) -> Tensor:
        out = torch.log_softmax(self.lin(x[:, :1]), dim=1)
        if self.kind == "nan":
            return torch.where(torch.arange(len(x))[:, None] == 3, torch.nan, out)
        return nn.functional.one_hot(out.argmax(dim=1), out.shape[1]).float()


def test_rows_of_a_sound_fit_pass_and_stand_on_the_target() -> None:
    target = fitted("joint-cluster:clusters=4,partition=bfs")
    assert target.defense is not None
    rows = {row.id: row for row in target.defense.validity}
    assert list(rows) == ["finite-outputs", "marginal-sums-to-one", "edge-gradient", "occupancy", "partition"]
    assert {row.status for row in rows.values()} == {"pass"}
    assert "bfs" in rows["partition"].evidence


def test_arms_without_clusters_have_no_partition_and_recluster_no_gradient() -> None:
    plain, again = fitted("joint-cluster:arm=ce"), fitted("joint-cluster:prototypes=recluster,partition=bfs,clusters=4")
    assert plain.defense is not None
    assert [row.id for row in plain.defense.validity] == ["finite-outputs", "marginal-sums-to-one", "edge-gradient"]
    assert again.defense is not None
    assert next(row.status for row in again.defense.validity if row.id == "edge-gradient") == "not_checked"


@pytest.mark.parametrize(("kind", "row"), [("nan", "finite-outputs"), ("argmax", "marginal-sums-to-one")])
def test_a_model_that_answers_nan_or_an_argmax_is_invalid(kind: str, row: str) -> None:
    broken = replace(fitted("joint-cluster:arm=ce"), model=Broken(kind, BASE.num_classes).eval())
    rows = {r.id: r for r in trust_rows(broken, {}, min_occupancy=5)}
    assert (rows[row].kind, rows[row].status) == ("integrity", "fail")
    assert rows["edge-gradient"].status == "fail"  # the edges do not enter
    assert Capability.GRAD_EDGE in broken.capabilities


def test_small_clusters_and_a_partition_made_otherwise_are_warned_of() -> None:
    target = fitted("joint-cluster:clusters=4,partition=bfs")
    assert target.defense is not None
    notes = dict(target.defense.notes)
    rows = {
        r.id: r.status
        for r in trust_rows(
            target, {**notes, "occupancy_min": 2, "partition_notes": ["k-way METIS failed"]}, min_occupancy=5
        )
    }
    assert (rows["occupancy"], rows["partition"]) == ("warn", "warn")
