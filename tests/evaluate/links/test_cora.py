"""The published setting on a real graph: GraphMI's raw AUC looks like a leak, and its control says that it is none."""

from pathlib import Path

import pytest

from attacks.privacy.graphmi import GraphMI
from attacks.privacy.posterior_similarity import PosteriorSimilarity
from auditor.data.sources import load_data
from auditor.evaluate.links.harness import evaluate
from auditor.targets.train import train_reference
from tests.evaluate.links.cells import make_cell, row


@pytest.fixture(scope="module")
def cora(data_root: Path, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cora")
    data = load_data("cora", root=data_root, cache=folder / "cache")
    return train_reference(data, "gcn", hidden=16, seed=0, out_dir=folder / "target")


@pytest.mark.slow
def test_graphmi_is_above_its_published_auc_and_below_features_and_labels(cora):
    params = {"profile": "standard", "replicates": 60, "counterfactuals": 0}
    main = row(evaluate(make_cell(cora, GraphMI(), **params)), "auc")
    assert main.estimate.value >= 0.82
    assert main.contrast.to in ("features+labels", "features+labels+mlp")
    assert main.contrast.hi < 0


@pytest.mark.slow
def test_candidates_lose_less_than_half_a_point_against_the_dense_reference(cora):
    params = {"replicates": 50, "negatives": 20_000, "counterfactuals": 0}
    knn, dense = (
        row(evaluate(make_cell(cora, GraphMI(form=form), **params)), "auc").estimate.value for form in ("knn", "dense")
    )
    assert abs(knn - dense) <= 0.005


@pytest.mark.slow
def test_posteriors_give_edges_away_beyond_features_and_labels(cora):
    result = evaluate(make_cell(cora, PosteriorSimilarity(), replicates=60))
    assert row(result, "auc").estimate.value >= 0.90
    assert row(result).contrast.lo > 0
