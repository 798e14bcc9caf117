"""Poisoned Cora: published and measured levels of the plain network, and the gain of the joint target."""

from __future__ import annotations

import statistics
from functools import partial
from pathlib import Path

import pytest

from auditor.data.sources import load_data
from auditor.data.splits import make_split
from auditor.defense import DefenseTask
from auditor.targets.models import build_model
from auditor.targets.recipe import TrainRecipe
from auditor.targets.target import Capability, Target
from auditor.targets.train import model_table
from defenses.joint_cluster.method import JointCluster
from tests.defenses.joint_cluster.fits import Fresh

SEEDS = 3


def cora(variant: str, root: Path) -> Target:
    data = load_data(f"deeprobust/cora{variant}", root=root)
    recipe = TrainRecipe(partial(build_model, model_table("gcn", "node", data.graph.num_features, 7)))
    split = make_split("prognn", data, 0)
    return Target(
        "cora", data.graph, split, 7, frozenset(Capability), "test", "-", {}, recipe.build(), recipe.build, recipe
    )


@pytest.mark.slow
def test_metattack_on_cora(data_root: Path) -> None:
    means = {}
    for variant in ("", ":metattack=0.25"):
        target = cora(variant, data_root)
        for arm in ("ce", "ce_cluster", "joint"):
            found = [
                JointCluster(arm=arm, clusters=20).fit(target, DefenseTask(seed, Fresh())).accuracy()
                for seed in range(SEEDS)
            ]
            means[arm + variant] = statistics.mean(found)
    assert 0.44 <= means["ce:metattack=0.25"] <= 0.51
    assert means["joint:metattack=0.25"] > means["ce:metattack=0.25"]
    assert abs(means["joint"] - means["ce"]) < 0.02
    assert 0.80 < means["ce"] < 0.86
