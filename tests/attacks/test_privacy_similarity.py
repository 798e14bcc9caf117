"""Embeddings, explanations, and all views added up: what each score is, what it is granted, and what is refused."""

import dataclasses

import numpy as np
import pytest
import torch

from attacks.privacy.embedding_similarity import EmbeddingSimilarity
from attacks.privacy.ensemble import Ensemble
from attacks.privacy.explanation_similarity import ExplanationSimilarity
from attacks.privacy.graphmi import GraphMI
from auditor import registry
from auditor.api.options import side_knowledge
from auditor.errors import AccessError, ConfigError, DataError, SkippedError
from auditor.evaluate.links.controls import label_agreement, standardise
from auditor.probe import Attempt
from auditor.shared import Shared
from auditor.statistics.pair_scores import compact, normal_scores, rank_mean, row_cosine, whitened
from auditor.targets.explanations import explanations
from auditor.targets.target import Capability
from auditor.view import Access, SideKnowledge, grant_privacy, uniform_pairs
from tests.toys import toy_target

PAIRS = uniform_pairs(120, 400, np.random.default_rng(3))


@pytest.fixture(scope="module")
def target():
    return toy_target("gcn")


def attempt(shared=None):
    kept = {} if shared is None else {"shared": shared}
    return Attempt(np.random.default_rng(0), torch.Generator().manual_seed(0), "quick", **kept)


def view(target, id_, side=None):
    access = frozenset(map(Access, registry.find("attacks", id_).access))
    return grant_privacy(target, access, side or SideKnowledge(), np.random.default_rng(0))


def score(target, id_, attack, side=None):
    return attack.run(view(target, id_, side), attempt()).score(PAIRS)


def test_whitened_embeddings_are_the_left_singular_vectors_without_dead_columns():
    h = torch.randn(60, 5, generator=torch.Generator().manual_seed(0)) @ torch.diag(torch.tensor([9.0, 3, 1, 0.1, 0]))
    left, size, _ = torch.linalg.svd((h - h.mean(dim=0)).double(), full_matrices=False)
    assert whitened(h).shape == (60, 4)
    torch.testing.assert_close(whitened(h) @ whitened(h).T, left[:, :4] @ left[:, :4].T)
    assert float(size[4]) < 1e-6 * float(size[0])
    assert whitened(torch.ones(10, 3)).shape == (10, 0)
    assert bool((row_cosine(whitened(torch.ones(10, 3)))(torch.tensor([[0], [1]])) == 0).all())


def test_embeddings_are_compared_whitened_or_as_they_are(target):
    h = target.clean_embeddings().double()
    plain = torch.cosine_similarity(h[PAIRS[0]], h[PAIRS[1]])
    torch.testing.assert_close(score(target, "embedding-similarity", EmbeddingSimilarity(metric="cosine")), plain)
    u = whitened(h)
    found = score(target, "embedding-similarity", EmbeddingSimilarity())
    torch.testing.assert_close(found, torch.cosine_similarity(u[PAIRS[0]], u[PAIRS[1]]))


def test_rows_in_a_basis_of_what_they_span_have_the_same_products():
    rng = torch.Generator().manual_seed(1)
    thin = torch.randn(400, 6, generator=rng) @ torch.randn(6, 300, generator=rng)
    found = compact(thin, rng)
    assert found.shape[1] < 10
    torch.testing.assert_close(found @ found.T, (thin @ thin.T).double(), rtol=1e-4, atol=1e-4)
    full = torch.randn(400, 300, generator=rng)
    assert compact(full, rng).shape == full.shape
    one = torch.cat([thin, 1e-3 * torch.randn(1, 300, generator=rng)])  # one short row that the others do not span
    assert bool((compact(one, rng).norm(dim=1) > 0).all())
    torch.testing.assert_close(compact(one, rng).norm(dim=1), one.double().norm(dim=1), rtol=1e-4, atol=0)


def test_batch_gradients_are_rows_of_one_backward_pass_and_own_ones_of_a_pass_each(target):
    graph, handle = target.graph, target.handle()
    named = target.clean_logits().argmax(dim=1)

    def total(x):
        return handle.logits(x, graph.edge_index).gather(1, named[:, None])

    jacobian = torch.autograd.functional.jacobian(lambda x: total(x).flatten(), graph.x)  # [N, N, F]
    torch.testing.assert_close(explanations(target, SideKnowledge()), jacobian.sum(dim=0))
    own = explanations(target, SideKnowledge(explanations="own"))
    torch.testing.assert_close(own, jacobian[torch.arange(120), torch.arange(120)])
    found = score(target, "explanation-similarity", ExplanationSimilarity(), SideKnowledge(explanations="own"))
    torch.testing.assert_close(found, torch.cosine_similarity(own[PAIRS[0]], own[PAIRS[1]]).double(), atol=1e-5, rtol=0)


def test_explanations_of_a_file_are_what_the_attack_sees(target, tmp_path):
    given = np.random.default_rng(0).normal(size=(120, target.graph.num_features))
    np.savez(tmp_path / "own.npz", explanations=given)
    side = side_knowledge({"explanations": "file:own.npz"}, tmp_path)
    assert side.explained == side.explanations_sha256 != ""
    assert np.array_equal(view(target, "explanation-similarity", side).explanations.numpy(), given)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: {"explanations": x[:-1]}, "a row for each node"),
        (lambda x: {"explanations": x[:, :-1]}, "a column for each feature"),
        (lambda x: {"explanations": np.where(x > 1, np.nan, x)}, "not finite"),
        (lambda x: {"explanations": x.astype(str)}, "expected numbers"),
        (lambda x: {"weights": x}, "lacks explanations"),
    ],
)
def test_a_file_that_does_not_fit_is_named_with_what_was_expected(target, tmp_path, change, message):
    x = np.random.default_rng(0).normal(size=(120, target.graph.num_features))
    np.savez(tmp_path / "bad.npz", **change(x))
    side = side_knowledge({"explanations": "file:bad.npz"}, tmp_path)
    with pytest.raises(DataError, match=message) as error:
        view(target, "explanation-similarity", side)
    assert error.value.exit_code == 2


def test_explanations_are_of_a_known_form_and_their_digest_is_nobody_elses_to_say(tmp_path):
    with pytest.raises(ConfigError, match='Did you mean "batch"'):
        side_knowledge({"explanations": "bach"})
    with pytest.raises(DataError, match="does not exist"):
        side_knowledge({"explanations": "file:none.npz"}, tmp_path)
    with pytest.raises(ConfigError, match="no key"):
        side_knowledge({"explanations_sha256": "0"})
    with pytest.raises(ConfigError, match="expected"):
        side_knowledge({"explanations": 3})


def test_without_a_gradient_or_with_too_many_nodes_there_are_no_explanations(target):
    bare = dataclasses.replace(target, capabilities=target.capabilities - {Capability.GRAD_X})
    with pytest.raises(SkippedError, match="GRAD_X") as error:
        view(bare, "explanation-similarity")
    assert error.value.lacks == ("GRAD_X",)
    with pytest.raises(AccessError, match='"explanations"'):
        ExplanationSimilarity().run(view(target, "embedding-similarity"), attempt())


def test_a_mean_of_ranks_is_that_of_normal_scores_and_keeps_ties():
    reference = torch.tensor([[0, 1, 2, 3], [4, 5, 6, 7]])
    first, second = (lambda p: p[0].double()), (lambda p: (p[1] == 4).double())
    found = rank_mean((first, second), reference)(reference)
    expected = [normal_scores(s(reference).numpy(), np.sort(s(reference).numpy())) for s in (first, second)]
    np.testing.assert_allclose(found.numpy(), np.mean(expected, axis=0))
    assert found[1] != found[2]
    assert float(rank_mean((second,), reference)(reference)[1:].unique().numel()) == 1


def test_an_ensemble_adds_up_the_views_that_its_access_grants(target):
    shown = view(target, "ensemble-all")
    views = {
        "features": row_cosine(shown.x),
        "labels": label_agreement(shown.y, shown.num_classes),
        "graphmi": GraphMI().run(shown, attempt()).score,
    }
    made = Ensemble().run(shown, attempt())
    assert made.notes["views"] == (*views, "embedding on no edges", "posterior-similarity")
    outputs = Ensemble().run(view(target, "ensemble-outputs"), attempt())
    assert outputs.notes["views"] == ("features", "labels", "posterior-similarity")
    white = Ensemble().run(view(target, "ensemble-white-box"), attempt())
    edgeless = row_cosine(target.handle().embeddings(shown.x, torch.empty(2, 0, dtype=torch.int64)).detach())
    expected = sum(standardise(s, shown.reference_pairs)(PAIRS) for s in (*views.values(), edgeless))
    torch.testing.assert_close(white.score(PAIRS), expected)
    assert not torch.equal(Ensemble(combine="rank").run(shown, attempt()).score(PAIRS), made.score(PAIRS))


def test_graphmi_is_run_once_for_everybody_who_asks_it_of_the_same_model(target, monkeypatch):
    runs = []
    descend = GraphMI._descend
    monkeypatch.setattr(GraphMI, "_descend", lambda *given: runs.append(1) or descend(*given))
    shared = Shared()
    GraphMI().run(view(target, "graphmi"), attempt(shared))
    for id_ in ("ensemble-white-box", "ensemble-all"):
        Ensemble().run(view(target, id_), attempt(shared))
    assert len(runs) == 1
    GraphMI(steps=3).run(view(target, "graphmi"), attempt(shared))
    GraphMI().run(view(toy_target("gcn", seed=5), "graphmi"), attempt(shared))
    GraphMI().run(view(target, "graphmi", SideKnowledge(labels="train")), attempt(shared))
    assert len(runs) == 4
