"""Coarser answers: what is served, that no class changes, what black-box and white-box attacks get, refusals, files."""

from __future__ import annotations

import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from attacks.privacy.graphmi import GraphMI
from attacks.privacy.posterior_similarity import PosteriorSimilarity
from attacks.robustness.active_set import ActiveSet
from auditor import registry
from auditor.compare.arms import fit_defended, load_any, make_defense
from auditor.data.sources import load_data
from auditor.errors import ConfigError, LoadError, SkippedError
from auditor.evaluate.links.controls import label_agreement
from auditor.evaluate.robustness.verification import Verifier
from auditor.flips import within_caps
from auditor.probe import Attempt
from auditor.runner.execute import TrainedCache
from auditor.statistics.pair_scores import few_log_odds_similarity
from auditor.targets.derived import save_derived
from auditor.targets.edge_use import EdgeUse
from auditor.targets.reference import compare_reference
from auditor.targets.target import Target
from auditor.targets.train import train_reference
from auditor.targets.validity.rows import validity_rows
from auditor.tasks import log_probabilities
from auditor.view import Access, SideKnowledge, View, grant_graph, grant_privacy
from defenses.coarse_outputs import NOTHING, Coarsening, rounded
from tests.targets.projects import Project
from tests.toys import sbm_graph, toy_target

SETTINGS = ("digits=1", "digits=3", "top-k=1", "top-k=3", "top-k=1,digits=1", "top-k=2,digits=2", "labels-only=true")


def coarse(target: Target, settings: str) -> Target:
    return fit_defended(target, make_defense(f"coarse-outputs:{settings}"), seed=0, models=TrainedCache())


def part(settings: str) -> Coarsening:
    defense = make_defense(f"coarse-outputs:{settings}")
    return Coarsening(defense.top_k, defense.digits, labels_only=defense.labels_only)  # type: ignore[attr-defined]


def served(settings: str, *posteriors: float) -> list[float]:
    return part(settings)(torch.tensor([posteriors]).double().log()).exp()[0].tolist()


def view_of(target: Target, attack: str, side: SideKnowledge | None = None) -> View:
    access = frozenset(map(Access, registry.find("attacks", attack).access))
    if Access.GRAPH in access:
        return grant_graph(target, access, with_test_labels=True)
    return grant_privacy(target, access, side or SideKnowledge(), np.random.default_rng(0))


def attempt(budgets: tuple[int, ...] = ()) -> Attempt:
    return Attempt(np.random.default_rng(0), torch.Generator().manual_seed(0), "quick", budgets)


@pytest.fixture(scope="module")
def target() -> Target:
    return toy_target(graph=sbm_graph(classes=5, degree=8.0))


@pytest.mark.parametrize(
    ("settings", "posteriors", "expected"),
    [
        ("digits=1", (0.52, 0.27, 0.21), (0.5, 0.3, 0.2)),
        ("digits=1", (0.36, 0.33, 0.31), (0.4, 0.3, 0.3)),
        ("digits=2", (0.974, 0.0145, 0.0115), (0.97, 0.02, 0.01)),
        ("digits=1", (0.41, 0.39, 0.20), (0.4, 0.4, 0.2)),
        ("top-k=1", (0.1, 0.7, 0.19, 0.01), (0.1, 0.7, 0.1, 0.1)),
        ("top-k=2", (0.1, 0.6, 0.24, 0.06), (0.08, 0.6, 0.24, 0.08)),
        ("top-k=1,digits=1", (0.07, 0.72, 0.01, 0.2), (0.1, 0.7, 0.1, 0.1)),
        ("top-k=2,digits=1", (0.5, 0.22, 0.14, 0.14), (0.5, 0.2, 0.15, 0.15)),
        ("labels-only=true", (0.36, 0.33, 0.31), (1, 0, 0)),
        # What is not shown would come out as likelier than the predicted class.
        ("top-k=1,digits=1", (0.34, 0.33, 0.33), (1 / 3, 1 / 3, 1 / 3)),
        ("top-k=1,digits=1", (0.26, *[0.2467] * 2, 0.2466), (0.3, 0.7 / 3, 0.7 / 3, 0.7 / 3)),
    ],
)
def test_hand_numbers(settings: str, posteriors: tuple[float, ...], expected: tuple[float, ...]) -> None:
    assert served(settings, *posteriors) == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize("digits", [1, 2, 3, 6])
def test_rounded_rows_are_whole_units_add_up_and_keep_their_order(digits: int) -> None:
    p = torch.randn(3000, 6, generator=torch.Generator().manual_seed(digits)).double().mul(4).softmax(dim=1)
    units = rounded(p, digits) * 10**digits
    torch.testing.assert_close(units, units.round(), atol=1e-6, rtol=0)
    assert torch.equal(units.round().sum(dim=1), torch.full((3000,), 10.0**digits, dtype=torch.float64))
    assert float((units - p * 10**digits).abs().max()) < 1
    ordered = units.round().gather(1, p.argsort(dim=1, descending=True))
    assert bool((ordered[:, 1:] <= ordered[:, :-1]).all())
    assert rounded(p, None) is p


@pytest.mark.parametrize("scale", [0.1, 3.0, 60.0])
@pytest.mark.parametrize("settings", SETTINGS)
def test_no_class_changes_not_even_in_single_precision_and_every_answer_is_a_posterior(
    settings: str, scale: float
) -> None:
    z = scale * torch.randn(4000, 7, generator=torch.Generator().manual_seed(0))
    z[:1000] = (z[:1000] / scale * 2).round()  # many equal logits: the class is the one that the model names
    answers = part(settings)(z)
    assert torch.equal(answers.argmax(dim=1), z.argmax(dim=1))
    assert torch.equal(answers.float().argmax(dim=1), z.argmax(dim=1))
    torch.testing.assert_close(answers.exp().sum(dim=1), torch.ones(4000).double(), atol=1e-10, rtol=0)
    assert float(answers.min()) >= np.log(NOTHING)
    torch.testing.assert_close(log_probabilities(answers), answers, atol=1e-10, rtol=0)


def test_of_two_logits_with_one_posterior_the_larger_stays_the_class() -> None:
    z = torch.tensor([[0.0, 0.0, 1e-30]])
    assert z.argmax(dim=1).item() == 2
    assert z.double().softmax(dim=1).unique().numel() == 1, "or the test shows nothing"
    for settings in ("digits=1", "top-k=1", "top-k=1,digits=1", "labels-only=true"):
        assert part(settings)(z).argmax(dim=1).item() == 2


@pytest.mark.parametrize("outputs", ["logits", "probs"])
@pytest.mark.parametrize("settings", SETTINGS)
def test_an_item_without_an_answer_stays_without_one_and_changes_no_other(settings: str, outputs: str) -> None:
    z = torch.randn(50, 5, generator=torch.Generator().manual_seed(1))
    given = z if outputs == "logits" else z.softmax(dim=1)
    spoilt = given.clone()
    spoilt[3], spoilt[4, 1], spoilt[5, 2] = torch.nan, torch.inf, -torch.inf
    answers, lost = part(settings)(spoilt), [3, 4, 5]
    assert bool(answers[lost].isnan().all())
    kept = [i for i in range(50) if i not in lost]
    torch.testing.assert_close(answers[kept], part(settings)(given[kept]))
    torch.testing.assert_close(answers[kept], part(settings)(z[kept]), atol=1e-5, rtol=0)
    assert bool(part(settings)(torch.full((2, 5), torch.nan)).isnan().all())


@pytest.mark.parametrize("settings", SETTINGS)
def test_the_defended_target_answers_coarsely_and_keeps_the_rest(target: Target, settings: str) -> None:
    made = coarse(target, settings)
    assert torch.equal(made.clean_logits(), part(settings)(target.clean_logits()))
    assert made.accuracy() == target.accuracy()
    assert made.capabilities == target.capabilities
    assert made.is_coarse
    assert not target.is_coarse
    assert torch.equal(made.clean_embeddings(), target.clean_embeddings())
    assert set(made.model.state_dict()) == set(target.model.state_dict())
    weight = torch.rand(target.graph.num_edges, generator=torch.Generator().manual_seed(1))
    g = target.graph
    expected = part(settings)(target.logits(g.x, g.edge_index, weight))
    assert torch.equal(made.logits(g.x, g.edge_index, weight), expected)
    assert made.defense is not None
    assert {row.id: row.status for row in made.defense.validity} == {"same-classes": "pass"}
    notes = made.defense.notes
    assert notes["different_answers_after"] <= notes["different_answers_before"]
    assert (notes["different_answers_after"] == 5) == (settings == "labels-only=true")


def test_a_twin_is_trained_again_and_as_coarse(target: Target) -> None:
    made = coarse(target, "digits=1")
    twin = made.retrained(seed=5)
    assert torch.equal(twin.clean_logits(), part("digits=1")(target.retrained(seed=5).clean_logits()))
    assert twin.is_coarse


@pytest.mark.parametrize("arch", ["gat", "sage", "gin", "mlp"])
def test_other_architectures(arch: str) -> None:
    base = toy_target(arch, graph=sbm_graph(classes=4))
    assert torch.equal(coarse(base, "top-k=2,digits=1").clean_logits(), part("top-k=2,digits=1")(base.clean_logits()))


def test_many_graphs() -> None:
    base = toy_target("graph-gin")
    made = coarse(base, "digits=1")
    assert torch.equal(made.clean_logits(), part("digits=1")(base.clean_logits()))
    with pytest.raises(SkippedError, match="digits and labels-only are left"):
        coarse(base, "top-k=1")


# What the adversaries get.


def test_whoever_holds_the_file_finds_what_the_undefended_model_gives_away(
    target: Target, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gradient through coarse answers is 0 or not there: read off it, the model would seem to leak nothing."""
    pairs = torch.combinations(torch.arange(target.graph.num_nodes)).T.contiguous()
    for settings in ("digits=1", "labels-only=true"):
        made, attack = coarse(target, settings), GraphMI(form="knn", k=5, steps=20)
        before, after = (attack.run(view_of(each, "graphmi"), attempt()) for each in (target, made))
        assert torch.equal(before.score(pairs), after.score(pairs))
        assert after.notes == before.notes
        assert "warning" not in before.notes
        with monkeypatch.context() as patched:
            patched.setattr(Target, "beneath", lambda self: self)
            blind = attack.run(view_of(made, "graphmi"), attempt())
            assert "no gradient" in blind.notes["warning"]
            assert not torch.equal(blind.score(pairs), before.score(pairs))


def test_an_insider_searches_the_model_beneath_and_is_measured_on_what_is_served(target: Target) -> None:
    made = coarse(target, "labels-only=true")
    attack = ActiveSet(losses=("tanh",), cycles=1)
    found = [attack.run(view_of(each, "active-set"), attempt((20,))) for each in (target, made)]
    items = torch.nonzero(target.split.test).flatten()
    fallen = 0
    for before, after in zip(found[0].points, found[1].points, strict=True):
        assert torch.equal(before.keys, after.keys)
        assert within_caps(after.keys, target.graph.num_nodes, None, after.budget).numel() == after.keys.numel()
        on_both = [Verifier(each, items).check(after) for each in (target, made)]
        assert on_both[0].accuracy == on_both[1].accuracy == after.claimed_accuracy
        fallen += on_both[1].accuracy < made.accuracy()
    assert fallen


@pytest.mark.parametrize("settings", SETTINGS)
def test_whoever_receives_the_answers_receives_no_more(target: Target, settings: str) -> None:
    made = coarse(target, settings)
    view = view_of(made, "posterior-similarity")
    torch.testing.assert_close(view.posteriors, made.clean_logits().exp())
    assert view.is_coarse
    assert view.served_digits == part(settings).served_digits
    plain = view_of(target, "posterior-similarity")
    assert not plain.is_coarse
    assert plain.served_digits is None
    both = view_of(made, "posterior-similarity", SideKnowledge(served_digits=2))
    assert both.served_digits == min(2, part(settings).served_digits or 2)


@pytest.mark.parametrize("side", [SideKnowledge(), SideKnowledge(outputs="logits")])
@pytest.mark.parametrize("metric", ["log-posterior", "lsa0"])
@pytest.mark.parametrize("classes", [2, 5])
def test_of_classes_alone_their_agreement_is_used_and_equal_scores_tie(
    target: Target, classes: int, metric: str, side: SideKnowledge
) -> None:
    base = target if classes == 5 else toy_target(graph=sbm_graph(classes=2))
    made = coarse(base, "labels-only=true")
    pairs = torch.combinations(torch.arange(base.graph.num_nodes)).T.contiguous()
    attack = PosteriorSimilarity(metric=metric)  # type: ignore[arg-type]
    scores = attack.run(view_of(made, "posterior-similarity", side), attempt()).score(pairs)
    agree = label_agreement(base.clean_logits().argmax(dim=1), classes)(pairs)
    is_edge = torch.isin(pairs[0] * base.graph.num_nodes + pairs[1], base.graph.pair_keys()).numpy()
    by_class = classes == 2 and metric == "log-posterior" and side.outputs == "probs"
    assert torch.unique(scores).numel() == 2 + by_class  # two of the rarer class are the more alike
    assert bool(((scores > scores[agree == 0].max()) == (agree == 1)).all())
    if not by_class:
        assert roc_auc_score(is_edge, scores) == roc_auc_score(is_edge, agree) > 0.6


def test_two_classes_and_few_answers_by_hand() -> None:
    """Ten nodes at log-odds 0, five at 1, one at 3: widths 1, 1.5 and 2."""
    m = torch.tensor([0.0] * 10 + [1.0] * 5 + [3.0], dtype=torch.float64)
    log_p = torch.stack([-m / 2, m / 2], dim=1)
    pairs = torch.tensor([[0, 10, 0, 10, 0], [1, 11, 10, 15, 15]])
    found = few_log_odds_similarity(log_p, neighbourhood=torch.arange(16))(pairs)
    per_node = (10 / 1, 5 / 1.5, 1 / 2)
    expected = [-10 / 3, -5 / 3, *(-d * (a * b) ** 0.5 for d, a, b in ((1, *per_node[:2]), (2, *per_node[1:])))]
    assert found.tolist() == pytest.approx([*expected, -3 * (per_node[0] * per_node[2]) ** 0.5])


def test_two_classes_in_tenths_still_tell_links() -> None:
    """In units of a local spacing that is 0 the answers of most nodes were told apart by rounding alone."""
    base = toy_target(graph=sbm_graph(n=200, classes=2))
    pairs = torch.combinations(torch.arange(200)).T.contiguous()
    is_edge = torch.isin(pairs[0] * 200 + pairs[1], base.graph.pair_keys()).numpy()
    found = {}
    for settings in ("digits=1", "labels-only=true"):
        view = view_of(coarse(base, settings), "posterior-similarity")
        found[settings] = float(roc_auc_score(is_edge, PosteriorSimilarity().run(view, attempt()).score(pairs)))
    assert found["digits=1"] > found["labels-only=true"] - 0.02 > 0.6


def test_what_is_served_as_0_counts_as_half_a_unit(target: Target) -> None:
    """At 1e-12 a 0 would outweigh every other class in a correlation of logarithms."""
    made = coarse(target, "digits=1")
    pairs = torch.combinations(torch.arange(target.graph.num_nodes)).T.contiguous()
    rows = made.clean_logits().exp().clamp_min(0.05).log().numpy()
    expected = np.corrcoef(rows)[pairs[0], pairs[1]]
    flat = rows.std(axis=1) == 0
    expected[flat[pairs[0]] | flat[pairs[1]]] = 0
    scores = PosteriorSimilarity().run(view_of(made, "posterior-similarity"), attempt()).score(pairs)
    np.testing.assert_allclose(scores.numpy(), expected, atol=1e-5)


def test_the_checks_are_those_of_the_model_beneath(target: Target) -> None:
    def rows(of: Target) -> dict[str, tuple[str, str]]:
        return {row.id: (row.status, row.evidence) for row in validity_rows(of, np.random.default_rng(0))}

    for settings in ("digits=1", "labels-only=true"):
        assert rows(coarse(target, settings)) == rows(target)
    assert rows(target)["gradient"][0] == "pass"


class Steady(nn.Module):
    """Uses its edges, and never so much that a class changes."""

    def __init__(self, classes: Tensor) -> None:
        super().__init__()
        self.register_buffer("classes", classes)

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        degree = torch.bincount(edge_index[1], minlength=x.shape[0])[:, None]
        return torch.nn.functional.one_hot(self.classes, 5) * (1 + 0.1 * degree)


def test_edges_that_move_no_coarse_answer_are_not_taken_for_edges_that_nothing_uses(target: Target) -> None:
    made = coarse(replace(target, model=Steady(target.graph.y)), "labels-only=true")
    assert EdgeUse.of(made, np.random.default_rng(0)).kind != "used", "or the test shows nothing"
    assert EdgeUse.of(made.beneath(), np.random.default_rng(0)).kind == "used"


# What is refused.


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("coarse-outputs:digits=0", "digits=0"),
        ("coarse-outputs:digits=7", "digits=7"),
        ("coarse-outputs:digits=1.5", "a whole number"),
        ("coarse-outputs:top-k=0", "top-k=0"),
        ("coarse-outputs:labels-only=true,digits=1", "labels-only with digits"),
        ("coarse-outputs:labels-only=true,digits=1,top-k=2", "top-k and digits"),
        ("coarse-outputs:labels-only=maybe", "true or false"),
        ("coarse-outputs:k=2", "no parameter"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_loaded(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make_defense(text)


class Mute(nn.Module):
    """Has no answer."""

    def forward(self, x: Tensor, edge_index: Tensor) -> Tensor:
        return torch.full((x.shape[0], 5), torch.nan)


def named_alike(target: Target) -> Target:
    model = toy_target(graph=target.graph).model
    model.coarse_outputs = nn.Identity()
    return replace(target, model=model)


@pytest.mark.parametrize(
    ("spoilt", "settings", "words"),
    [
        (lambda t: t, "top-k=4", r"hides nothing of 5 classes.*at most 3"),
        (lambda t: t, "top-k=9,digits=1", "hides nothing of 5 classes"),
        (named_alike, "digits=1", 'part called "coarse_outputs"'),
        (lambda t: coarse(t, "digits=2"), "digits=1", "Give the undefended target"),
        (lambda t: replace(t, model=Mute()), "digits=1", "no item a finite answer"),
        (lambda t: replace(t, capabilities=t.capabilities - {"PROBS"}), "digits=1", "PROBS"),
    ],
)
def test_what_cannot_be_made_coarser_says_why(target: Target, spoilt, settings: str, words: str) -> None:
    with pytest.raises(SkippedError, match=words):
        coarse(spoilt(target), settings)


# Files.


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained target on disk."""
    out = tmp_path_factory.mktemp("coarse")
    train_reference(load_data("demo"), "gcn", out_dir=out / "node", epochs=20)
    return out / "node"


@pytest.mark.parametrize("settings", ["digits=2", "top-k=1,digits=1", "labels-only=true"])
def test_saved_and_loaded_it_is_the_same_target_to_every_adversary(folder: Path, tmp_path: Path, settings: str) -> None:
    base = load_any(folder, models=TrainedCache())
    made = coarse(base, settings)
    save_derived(made, folder, tmp_path)
    loaded = load_any(tmp_path, models=TrainedCache())
    assert torch.equal(loaded.clean_logits(), made.clean_logits())
    assert torch.equal(loaded.beneath().clean_logits(), base.clean_logits())
    assert loaded.capabilities == base.capabilities
    assert loaded.served_digits == made.served_digits
    assert loaded.defense is not None
    assert made.defense is not None
    assert loaded.defense.notes == made.defense.notes
    assert loaded.defense.spec == f"coarse-outputs:{','.join(sorted(settings.split(',')))}"
    assert torch.equal(loaded.retrained(seed=3).clean_logits(), made.retrained(seed=3).clean_logits())
    # What the weights are checked by is not rounded: another machine's last bit would be a tenth.
    reference = tmp_path / "model.ref.safetensors"
    assert compare_reference(reference, loaded.beneath().handle(), loaded.graph).difference == 0
    with pytest.raises(LoadError, match="differ"):
        compare_reference(reference, loaded.handle(), loaded.graph)
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".safetensors", ".safetensors", ".toml"]


FACTORY = """
    import torch
    from torch_geometric.nn import GCN

    class Net(torch.nn.Module):
        def __init__(self, hidden):
            super().__init__()
            self.gnn = GCN(24, hidden, 2, 3)

        def forward(self, data):
            return self.gnn(data.x, data.edge_index).softmax(dim=1)

    def build(hidden):
        return Net(hidden)
"""


def test_a_user_s_own_model_is_served_more_coarsely_beside_its_code(tmp_path: Path) -> None:
    project = Project(tmp_path / "own", hidden_channels=8)
    (tmp_path / "own" / "model.py").write_text(textwrap.dedent(FACTORY))
    state = {f"gnn.{name}": value for name, value in project.model.state_dict().items()}
    save_file(state, tmp_path / "own" / "model.safetensors")
    del project.tables["model"]
    base = load_any(project.write(factory="model.py:build", init={"hidden": 8}), models=TrainedCache())
    made = coarse(base, "top-k=1,digits=1")
    save_derived(made, tmp_path / "own", tmp_path / "elsewhere")
    loaded = load_any(tmp_path / "elsewhere", models=TrainedCache())
    assert torch.equal(loaded.clean_logits(), part("top-k=1,digits=1")(base.clean_logits()))
    assert torch.equal(loaded.beneath().clean_logits(), base.clean_logits())
