"""Noise on the sums behind stored prototypes: its size, where it is drawn, what it promises; and no second fit."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from auditor.compare.arms import fit_defended, make_defense
from auditor.defense import DefenseTask
from auditor.errors import ConfigError, SkippedError
from defenses.dp.prototypes import noisy_prototypes
from defenses.joint_cluster.method import JointCluster
from tests.defenses.joint_cluster.fits import Fresh, answer, fitted, task
from tests.toys import sbm_graph, toy_target


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_without_noise_they_are_means_of_clipped_rows() -> None:
    z = torch.tensor([[3.0, 4.0], [0.0, 1.0], [1.0, 0.0], [0.5, 0.0]])
    means, counts = noisy_prototypes(z, torch.tensor([0, 0, 1, 1]), 2, clip=1.0, std=0.0, rng=rng())
    torch.testing.assert_close(means, torch.tensor([[0.3, 0.9], [0.75, 0.0]]))
    torch.testing.assert_close(counts, torch.tensor([2.0, 2.0]))


def test_one_row_more_moves_the_release_by_clip_times_root_two_at_most() -> None:
    z, cluster = torch.randn(40, 6, generator=torch.Generator().manual_seed(0)) * 5, torch.arange(40) % 3

    def release(rows: int) -> torch.Tensor:
        means, counts = noisy_prototypes(z[:rows], cluster[:rows], 3, clip=2.0, std=0.0, rng=rng())
        return torch.cat([means * counts[:, None], 2.0 * counts[:, None]], dim=1)

    moved = max(float((release(n + 1) - release(n)).norm()) for n in range(10, 39))
    assert moved <= 2.0 * math.sqrt(2) + 1e-4
    assert moved > 2.0 * math.sqrt(2) - 1e-3  # a row longer than the clip uses all of it


def test_noise_has_its_std_on_sums_and_scaled_counts() -> None:
    z, cluster = torch.zeros(2000, 30), torch.arange(2000) % 2
    draws = [noisy_prototypes(z, cluster, 2, clip=4.0, std=8.0, rng=rng(seed)) for seed in range(50)]
    sums = torch.cat([(means * counts[:, None]).flatten() for means, counts in draws])
    scaled = torch.cat([4.0 * (counts - 1000) for _, counts in draws])
    assert float(sums.std()) == pytest.approx(8.0, rel=0.05)
    assert float(scaled.std()) == pytest.approx(8.0, rel=0.2)


@pytest.mark.parametrize(("clip", "std"), [(0.0, 1.0), (1.0, -1.0), (float("nan"), 1.0)])
def test_bad_clip_or_std_is_refused(clip: float, std: float) -> None:
    with pytest.raises(ConfigError, match="expected a clip"):
        noisy_prototypes(torch.ones(2, 2), torch.tensor([0, 1]), 2, clip, std, rng())


def test_noise_moves_prototypes_only_follows_the_seed_and_promises_nothing() -> None:
    base = toy_target(epochs=4)
    plain, noisy, again = (
        fitted(base=base),
        fitted(base=base, prototype_noise=0.5),
        fitted(base=base, prototype_noise=0.5),
    )
    for name, value in plain.model.state_dict().items():
        same = torch.equal(value, noisy.model.state_dict()[name])
        assert same == (name not in ("prototypes", "fallback")), name
    assert torch.equal(noisy.model.prototypes, again.model.prototypes)
    assert noisy.digest == again.digest != plain.digest
    assert bool(torch.isfinite(answer(noisy)).all())
    assert noisy.defense is not None
    assert noisy.defense.guarantee is None
    assert "no guarantee" in noisy.defense.notes["prototype_noise"]
    assert noisy.defense.notes["prototype_std"] == pytest.approx(0.5 * noisy.defense.notes["prototype_clip"])
    assert plain.defense is not None
    assert "prototype_noise" not in plain.defense.notes


def test_a_release_draws_from_nowhere_a_retrained_twin_from_its_seed() -> None:
    base, defense = toy_target(epochs=2), JointCluster(partition="bfs", clusters=4, prototype_noise=0.5)
    first, second = (defense.fit(base, DefenseTask(0, Fresh(), release=True)) for _ in range(2))
    assert not torch.equal(first.model.prototypes, second.model.prototypes)
    twins = [first.retrained(seed=0).model.prototypes for _ in range(2)]
    assert torch.equal(*twins)
    assert torch.equal(twins[0], defense.fit(base, task(0)).model.prototypes)


def test_noisy_prototypes_survive_saving() -> None:
    base = toy_target(epochs=2)
    target = fitted(base=base, prototype_noise=0.5)
    tensors = {name: value.clone() for name, value in target.model.state_dict().items()}
    again = JointCluster(partition="bfs", clusters=6, prototype_noise=0.5).wrap(base, tensors, task())
    assert torch.equal(answer(again), answer(target))
    assert again.digest == target.digest


@pytest.mark.parametrize("mode", ["live", "recluster"])
def test_prototypes_made_again_at_every_answer_take_no_noise(mode: str) -> None:
    with pytest.raises(ConfigError, match="prototypes=frozen"):
        make_defense(f"joint-cluster:prototypes={mode},prototype-noise=0.1")
    assert JointCluster(prototype_noise=0.1).modes("full") == ()


@pytest.mark.parametrize("noise", ["-1", "inf", "nan"])
def test_bad_noise_is_refused(noise: str) -> None:
    with pytest.raises(ConfigError, match="prototype-noise"):
        make_defense(f"joint-cluster:prototype-noise={noise}")


PAIRS = [
    ("joint-cluster:partition=bfs,clusters=4", "edge-rand"),
    ("edge-rand", "joint-cluster"),
    ("edge-rand", "l2r:mode=head"),
    ("joint-cluster:partition=bfs,clusters=4", "joint-cluster:arm=ce"),
    ("l2r:mode=head", "uniform-refit"),
]


@pytest.mark.parametrize(("first", "second"), PAIRS)
def test_a_defended_target_is_no_base_of_another_defence(first: str, second: str) -> None:
    once = fit_defended(toy_target(graph=sbm_graph(200), epochs=2), make_defense(first), seed=0, models=Fresh())
    with pytest.raises(SkippedError, match=r"undefended target"):
        fit_defended(once, make_defense(second), seed=0, models=Fresh())
