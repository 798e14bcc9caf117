"""Embeddings, explanations and ensembles in the harness: twins attacked alike, leaks found, none in noise."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from attacks.privacy.embedding_similarity import EmbeddingSimilarity
from attacks.privacy.ensemble import Ensemble
from attacks.privacy.explanation_similarity import ExplanationSimilarity
from auditor.api.options import side_knowledge
from auditor.evaluate.links.harness import evaluate
from auditor.outcomes import LinkOutcome
from auditor.statistics.pair_scores import row_cosine, whitened
from auditor.targets.explanations import explanations
from auditor.view import SideKnowledge
from tests.evaluate.links.cells import Twins, make_cell, row
from tests.toys import sbm_graph, toy_target

EMBEDDINGS, EXPLANATIONS, ENSEMBLE = "embedding-similarity", "explanation-similarity", "ensemble-white-box"


@pytest.fixture(scope="module")
def target():
    return toy_target("gcn")


@pytest.mark.parametrize(
    ("probe", "attack", "access"),
    [
        (EMBEDDINGS, EmbeddingSimilarity(), ("embeddings",)),
        (EXPLANATIONS, ExplanationSimilarity(), ("explanations",)),
        (ENSEMBLE, Ensemble(), ("density", "features", "labels", "weights")),
    ],
)
def test_what_is_judged_stands_beside_every_control_and_twins_attacked_alike(target, probe, attack, access):
    models = Twins()
    cell = make_cell(target, attack, probe=probe, profile="standard", models=models, replicates=50, negatives=300)
    result = evaluate(cell)
    names = {control.name for control in row(result).controls}
    assert result.access == access
    assert names >= {"features+labels", "mlp", "chance", "counterfactual/degree+class", "counterfactual/degree"}
    assert ("untrained" in names) == (probe == ENSEMBLE)  # the others read what was computed on the private graph
    assert len(models.graphs) == 2
    assert row(result).contrast.lo is not None
    scorer = next(check for check in result.validity if check.id == "scorer")
    assert scorer.status == "pass"


@dataclass(frozen=True)
class Rows:
    """Compares rows that were made before."""

    rows: torch.Tensor

    def run(self, view, attempt):
        return LinkOutcome(row_cosine(self.rows))


def sums(edge_index):
    """A node's own code and those of its neighbours, float64 [120, 40]."""
    codes = torch.randn(120, 40, generator=torch.Generator().manual_seed(0)).double()
    return codes.index_add(0, edge_index[1], codes[edge_index[0]])


def test_a_planted_leak_of_embeddings_is_found_and_noise_is_none(target):
    def proven(rows):
        cell = make_cell(target, Rows(rows), probe=EMBEDDINGS, replicates=60, counterfactuals=0)
        return row(evaluate(cell)).contrast.lo

    planted = sums(target.graph.edge_index)
    assert proven(whitened(planted)) > 0.05
    assert proven(planted[torch.from_numpy(np.random.default_rng(1).permutation(120))]) <= 0


@pytest.mark.parametrize("probe", [EMBEDDINGS, EXPLANATIONS])
def test_edges_between_relabelled_nodes_are_not_found(probe):
    """Neither embeddings nor gradients, made on the edges as they were, know of those between relabelled nodes."""
    proven = 0
    for seed in range(3):
        base = toy_target("gcn", graph=sbm_graph(seed=seed), seed=seed, epochs=20)
        made = whitened(base.clean_embeddings()) if probe == EMBEDDINGS else explanations(base, SideKnowledge())
        order = torch.from_numpy(np.random.default_rng(seed).permutation(120))
        null = replace(base, graph=base.graph.with_edges(order[base.graph.edge_index]))
        cell = make_cell(null, Rows(made), probe=probe, replicates=100, seed=seed, counterfactuals=0)
        proven += row(evaluate(cell)).contrast.lo > 0
    assert proven == 0


def test_explanations_of_a_file_have_no_twin_and_prove_no_more_than_a_moderate_leak(target, tmp_path):
    graph = target.graph
    rows = sums(graph.edge_index).numpy()
    wide = np.zeros((120, graph.num_features))
    wide[:, : min(40, graph.num_features)] = rows[:, : graph.num_features]
    np.savez(tmp_path / "own.npz", explanations=wide)
    side = side_knowledge({"explanations": f"file:{tmp_path / 'own.npz'}"})
    models = Twins()
    cell = make_cell(
        target, ExplanationSimilarity(), probe=EXPLANATIONS, profile="standard", side=side, models=models, replicates=50
    )
    result = evaluate(cell)
    assert models.graphs == []
    assert row(result).at_most == "medium"
    assert result.params["explanations"] == side.explanations_sha256
    twins = [check for check in result.validity if check.id == "counterfactual"]
    assert [check.status for check in twins] == ["not_checked", "not_checked"]
    assert "from a file" in twins[0].evidence
