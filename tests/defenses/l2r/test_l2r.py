from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from auditor.data.graph import Split
from auditor.data.synthetic import spurious_motif
from auditor.defense import Defense
from auditor.errors import AuditorError, ConfigError, LoadError, SkippedError, SplitError
from auditor.parameters import build, spec_of
from auditor.targets.target import Target
from defenses.fitting import DefenseRecipe
from defenses.group_balanced import GroupBalanced
from defenses.l2r.dependence import all_pairs, standardised
from defenses.l2r.diagnostics import dependence_notes, permuted
from defenses.l2r.items import balanced_weights, freeze, group_cells, minority_weight
from defenses.l2r.learned import learn_frozen
from defenses.l2r.method import L2R
from defenses.l2r.objective import Objective, learn
from defenses.l2r.training import EqualWeights, train_weighted, weighted_loss
from defenses.random_weights import RandomWeights
from defenses.uniform_refit import UniformRefit
from tests.defenses.synthetic_targets import Models, SumGIN, same_tensors, small_concept, target_on, task_of
from tests.toys import toy_target

HEAD = [L2R(), UniformRefit(), RandomWeights(), GroupBalanced()]
END_TO_END = [
    L2R("erm"),
    L2R("all"),
    L2R("l2r"),
    L2R("l2r-bi"),
    L2R("all", memory="fifo"),
    L2R("l2r", memory="momentum"),
    RandomWeights("all"),
    GroupBalanced("full"),
]


def _equal(a: Target, b: Target) -> bool:
    return all(same_tensors(a.model, b.model).values())


@pytest.mark.parametrize("defense", HEAD, ids=spec_of)
def test_a_head_mode_changes_the_last_layer_alone_and_is_reproducible(defense: Defense) -> None:
    data, target = small_concept()
    before = {k: v.clone() for k, v in target.model.state_dict().items()}
    first, second = (defense.fit(target, task_of(3, data.group)) for _ in range(2))
    assert _equal(first, second)
    assert {k: v for k, v in first.defense.notes.items() if k != "seconds"} == {
        k: v for k, v in second.defense.notes.items() if k != "seconds"
    }
    changed = {k for k, same in same_tensors(target.model, first.model).items() if not same}
    assert changed == {"head.weight", "head.bias"}
    assert all(torch.equal(v, before[k]) for k, v in target.model.state_dict().items())
    assert first.defense.base == target.digest != first.digest
    assert first.defense.spec == spec_of(defense)
    assert target.defense is None


@pytest.mark.parametrize("defense", [*HEAD, *END_TO_END], ids=spec_of)
def test_what_the_fit_saved_rebuilds_it(defense: Defense) -> None:
    data, target = small_concept()
    task = task_of(0, data.group, _shared())
    fitted = defense.fit(target, task)
    again = defense.wrap(target, fitted.model.state_dict(), task)
    assert _equal(fitted, again)
    assert again.digest == fitted.digest
    assert torch.isfinite(fitted.clean_logits()).all()
    assert fitted.clean_logits().shape == target.clean_logits().shape
    wrong = {k: v[..., :1] for k, v in fitted.model.state_dict().items()}
    with pytest.raises(LoadError, match="do not fit"):
        defense.wrap(target, wrong, task)


_MODELS: list[Models] = []


def _shared() -> Models:
    """One cache for the tests of this file: each end-to-end mode is trained once."""
    if not _MODELS:
        _MODELS.append(Models())
    return _MODELS[0]


def test_end_to_end_modes_differ_from_their_baseline_and_say_what_they_did() -> None:
    data, target = small_concept()
    erm = L2R("erm").fit(target, task_of(0, data.group, _shared()))
    for defense in END_TO_END[1:]:
        fitted = defense.fit(target, task_of(0, data.group, _shared()))
        assert not _equal(erm, fitted), spec_of(defense)
        if isinstance(defense, L2R):
            notes = fitted.defense.notes
            assert notes["ess"] >= 0.5 - 1e-3
            assert notes["class_prior_drift"] <= 1e-5
            assert notes["memory"] == ("exact" if defense.memory == "auto" else defense.memory)
            assert ("cluster_sizes" in notes) == (defense.mode != "all")
            if defense.mode != "all":
                assert sum(notes["cluster_sizes"]) == 16


def test_random_weights_have_the_ess_of_their_twin_and_take_its_fit_from_the_cache() -> None:
    data, target = small_concept()
    models = _shared()
    twin = L2R("all").fit(target, task_of(0, data.group, models))
    fits = models.fits
    random = RandomWeights("all").fit(target, task_of(0, data.group, models))
    assert models.fits <= fits + 1  # its own training alone
    assert random.defense.notes["ess"] == pytest.approx(twin.defense.notes["ess"], abs=1e-3)
    head, control = (d.fit(target, task_of(0)) for d in (L2R(), RandomWeights()))
    assert control.defense.notes["ess"] == pytest.approx(head.defense.notes["ess"], abs=1e-3)
    assert control.defense.notes["class_prior_drift"] <= 1e-5


def test_labels_and_features_of_the_test_set_are_never_read() -> None:
    data, target = small_concept()
    y, x = target.graph.y.clone(), target.graph.x.clone()
    test = ~(target.split.train | target.split.val)
    rng = torch.Generator().manual_seed(0)
    y[test] = torch.randint(3, (int(test.sum()),), generator=rng)
    x[test[target.graph.batch]] += 1
    group = torch.where(test, torch.zeros_like(data.group), data.group)
    noisy = replace(target, graph=replace(target.graph, y=y, x=x))
    for defense in (*HEAD, L2R("l2r-bi"), GroupBalanced("full")):
        clean = defense.fit(target, task_of(0, data.group, Models()))
        assert _equal(clean, defense.fit(noisy, task_of(0, group, Models()))), spec_of(defense)


def test_training_labels_are_read() -> None:
    _data, target = small_concept()
    y = target.graph.y.clone()
    y[target.split.train.nonzero()[:40, 0]] = 0
    other = replace(target, graph=replace(target.graph, y=y))
    assert not _equal(UniformRefit().fit(target, task_of()), UniformRefit().fit(other, task_of()))


def test_erm_starts_from_the_network_and_batches_of_the_recipe() -> None:
    """With one epoch, no warm-up beyond it and no choice of checkpoint, both loops are the same training."""
    data, _ = small_concept()
    target = target_on(data, partial(SumGIN, 8, 3), epochs=2)
    model, _ = train_weighted(target, EqualWeights(), seed=0, tick=lambda *_: None)
    no_choice = Split(target.split.train, torch.zeros_like(target.split.val), target.split.test)
    last = target.recipe.fit(target.graph, no_choice, 0).model
    first = replace(target.recipe, epochs=1).fit(target.graph, no_choice, 0).model
    same = [all(same_tensors(model, other).values()) for other in (last, first)]
    # the least validation loss after the warm-up epoch is epoch 2's, the only one left
    assert same == [True, False]


def test_the_weighted_loss_with_equal_weights_is_the_plain_mean() -> None:
    logits = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    y = torch.arange(50) % 3
    plain = torch.nn.functional.cross_entropy(logits, y)
    assert float(weighted_loss(logits, y, torch.ones(50)) - plain) == pytest.approx(0, abs=1e-7)
    assert float(weighted_loss(logits, y, torch.full((50,), 3.0)) - plain) == pytest.approx(0, abs=1e-6)
    one = weighted_loss(logits[:, :1], y.clamp(max=1), torch.ones(50))
    two = weighted_loss(torch.cat([torch.zeros(50, 1), logits[:, :1]], dim=1), y.clamp(max=1), torch.ones(50))
    assert float(one - two) == pytest.approx(0, abs=1e-6)


def test_a_defended_target_retrains_with_its_defence() -> None:
    _data, target = small_concept()
    defended = L2R().fit(target, task_of(0))
    assert isinstance(defended.recipe, DefenseRecipe)
    base = target.retrained(seed=5)
    assert _equal(defended.retrained(seed=5), L2R().fit(base, task_of(5)))
    assert defended.recipe.describe()["defense"] == "l2r"


def test_real_embeddings_depend_and_permuted_ones_never_do() -> None:
    _data, target = small_concept()
    frozen = freeze(target)
    z, _ = standardised(frozen.z)
    pairs = all_pairs(z.shape[1])
    for seed in range(3):
        rng = torch.Generator().manual_seed(seed)
        for embeddings, nothing in ((z, False), (permuted(z, rng), True)):
            a, _ = learn(Objective(), embeddings, frozen.y, pairs, steps=30, rng=rng)
            w = Objective().weights(a, frozen.y)
            notes = dependence_notes(embeddings, w, frozen.y, pairs, Objective(), steps=30, rng=rng)
            assert notes["nothing_to_decorrelate"] is nothing
            assert notes["d_ratio"] < 1  # noise decorrelates too


def test_minority_weight_and_prior_drift_by_hand() -> None:
    groups = torch.tensor([0] * 6 + [1] * 2 + [2] * 4)
    w = torch.tensor([0.5] * 6 + [3.0] * 2 + [1.0] * 4)
    assert minority_weight(w, groups) == pytest.approx(3.0)
    assert minority_weight(w, torch.zeros(12, dtype=torch.long)) is None


def test_balanced_groups_have_equal_mass_and_tiny_ones_are_merged() -> None:
    data, target = small_concept()
    items = target.split.train.nonzero().flatten()
    cells, notices = group_cells(data.group, data.graph, items)
    w = balanced_weights(cells)
    mass = torch.zeros(int(cells.max()) + 1, dtype=torch.float64).index_add(0, cells, w)
    assert torch.allclose(mass, mass.mean().expand_as(mass))
    assert float(w.mean()) == pytest.approx(1)
    counts = torch.bincount(data.group[items], minlength=9)
    tiny = int((counts < 5).sum())
    assert len(notices) == tiny
    assert int(cells.max()) + 1 == 9 - tiny
    lonely = data.group.clone()
    lonely[items[:3]] = 99
    merged, notices = group_cells(lonely, data.graph, items)
    assert any("3 items" in notice for notice in notices)
    assert int(torch.bincount(merged).min()) >= 5


def test_an_attribute_column_is_crossed_with_the_class() -> None:
    data, target = small_concept()
    items = target.split.train.nonzero().flatten()
    column = torch.arange(data.graph.num_items) % 2
    cells, _ = group_cells(column, data.graph, items, crossed=True)
    assert int(cells.max()) + 1 == 6
    assert int(group_cells(column, data.graph, items)[0].max()) + 1 == 2


def test_group_columns_that_cannot_be_balanced_are_refused() -> None:
    data, target = small_concept()
    for column, words in (
        (None, "no group column"),
        (torch.zeros(data.graph.num_items, dtype=torch.long), "constant"),
        (data.group[:5], "entries"),
    ):
        with pytest.raises(ConfigError, match=words):
            GroupBalanced().fit(target, task_of(0, column))
    only = data.graph.y * 2  # the value tells the class: six of nine cells are empty
    with pytest.raises(ConfigError, match="6 of 9 cells"):
        GroupBalanced(by="attribute").fit(target, task_of(0, only))


@pytest.mark.parametrize(
    "settings",
    [
        {"mode": "lr2"},
        {"lam": 0.0},
        {"lam": -1.0},
        {"features": 0},
        {"ess": 0.0},
        {"ess": 1.0},
        {"mode": "l2r", "clusters": 1},
        {"memory": "queue"},
        {"normalise": "none"},
        {"form": "exact"},
    ],
)
def test_bad_settings_are_refused(settings: dict[str, object]) -> None:
    words = {key: str(value) for key, value in settings.items()}
    for method in (L2R, RandomWeights):
        with pytest.raises(ConfigError):
            build(method, words, owner="weights")


def test_random_weights_of_erm_would_be_no_control() -> None:
    with pytest.raises(ConfigError, match="equal weights"):
        build(RandomWeights, {"mode": "erm"}, owner="random-weights")


def test_targets_that_cannot_be_reweighted_are_refused_with_the_reason() -> None:
    _data, target = small_concept()
    none = torch.zeros_like(target.split.val)
    few = none.clone()
    few[target.split.train.nonzero()[:30, 0]] = True
    one_class = target.split.train & (target.graph.y != 2)
    for split, words in (
        (Split(target.split.train, none, target.split.test), "no validation"),
        (Split(few, target.split.val, target.split.test), "30 training items"),
        (Split(one_class, target.split.val, target.split.test), "class 2"),
    ):
        for defense in (L2R(), L2R("erm")):
            with pytest.raises(SplitError, match=words):
                defense.fit(replace(target, split=split), task_of())
    with pytest.raises(SkippedError, match="RETRAIN"):
        L2R("all").fit(replace(target, recipe=None, build=None), task_of())
    with pytest.raises(ConfigError, match="clusters = 17"):
        L2R("l2r", clusters=17).fit(target, task_of())
    with pytest.raises(ConfigError, match="validation term"):
        L2R("l2r-bi", memory="fifo").fit(target, task_of())


def test_a_collapsed_encoder_is_an_error_and_not_a_silent_result() -> None:
    _, target = small_concept()
    model = SumGIN(16, 3)
    model.load_state_dict(target.model.state_dict())
    for parameter in model.gnn.parameters():
        parameter.detach().zero_()
    with pytest.raises(AuditorError, match="0 of 16 embedding dimensions"):
        L2R().fit(replace(target, model=model), task_of())


def test_an_exploding_training_is_an_error() -> None:
    _data, target = small_concept()
    wild = replace(target, recipe=replace(target.recipe, optimizer="sgd", lr=1e30))
    with pytest.raises(AuditorError, match="finite"):
        L2R("erm").fit(wild, task_of())


def test_an_interpolating_head_is_refitted_on_validation_items() -> None:
    data, target = small_concept()
    predicted = target.clean_logits().argmax(dim=1)
    y = torch.where(target.split.train, predicted, target.graph.y)
    perfect = replace(target, graph=replace(target.graph, y=y))
    small = UniformRefit().fit(perfect, task_of()).defense.notes
    assert (small["interpolates"], small["refit_on"]) == (True, "train")  # 40 validation items are too few
    wide = data.sets["id"] | data.sets["val"]
    wide = wide | (data.sets["ood"] & (torch.arange(wide.numel()) % 4 != 0))
    split = Split(target.split.train, wide, data.sets["ood"] & ~wide)
    notes = UniformRefit().fit(replace(perfect, split=split), task_of()).defense.notes
    assert (notes["refit_on"], notes["refit_items"]) == ("validation", int(wide.sum()))
    assert UniformRefit().fit(target, task_of()).defense.notes["interpolates"] is False


@pytest.mark.parametrize("memory", ["exact", "fifo", "momentum"])
def test_every_memory_form_learns_weights_within_limits(memory: str) -> None:
    _, target = small_concept()
    frozen = freeze(target)
    rng = torch.Generator().manual_seed(0)
    w, notes = learn_frozen(Objective(), frozen.z, frozen.y, steps=60, memory=memory, batch_size=64, rng=rng)
    assert notes["memory"] == memory
    assert float(w.sum()) == pytest.approx(frozen.y.shape[0], abs=1e-3)
    assert 0 < float(w.min()) < 0.99
    assert float(w.max()) <= 10 + 1e-6


@pytest.mark.parametrize("arch", ["gcn", "sage"])
def test_node_targets_are_reweighted_through_the_convolution(arch: str) -> None:
    base = toy_target(arch)
    masks = [torch.arange(120) % 10 < 6, torch.arange(120) % 10 == 6, torch.arange(120) % 10 > 6]
    target = replace(base, split=Split(*masks))
    head, *others = (
        defense.fit(target, task_of()) for defense in (L2R(), UniformRefit(), L2R("all"), L2R("l2r-bi"), L2R("erm"))
    )
    for fitted in (head, *others):
        assert fitted.accuracy() > 0.5  # three classes
    changed = {k for k, same in same_tensors(target.model, head.model).items() if not same}
    assert all(k.startswith("convs.1.") for k in changed)
    assert changed


def test_attention_is_skipped_in_head_mode() -> None:
    base = toy_target("gat")
    masks = [torch.arange(120) % 10 < 6, torch.arange(120) % 10 == 6, torch.arange(120) % 10 > 6]
    with pytest.raises(SkippedError, match="last layer"):
        L2R().fit(replace(base, split=Split(*masks)), task_of())


def test_controls_carry_the_twins_parameters() -> None:
    assert L2R().controls() == ("uniform-refit", "random-weights:mode=head")
    assert L2R("l2r").controls() == ("l2r:mode=erm", "random-weights:mode=l2r")
    assert L2R("all", lam=0.1).controls() == ("l2r:mode=erm", "random-weights:lam=0.1,mode=all")
    assert L2R("erm").controls() == ()
    assert spec_of(L2R("l2r", lam=0.1)) == "l2r:lam=0.1,mode=l2r"


@pytest.mark.slow
def test_weights_go_the_right_way_on_a_trained_model() -> None:
    data = spurious_motif(rng=np.random.default_rng(0))
    target = target_on(data, partial(SumGIN, 32, 2), epochs=40)
    notes = L2R().fit(target, task_of(0, data.group)).defense.notes
    assert notes["d_ratio"] <= 0.6
    assert notes["d_ratio"] < notes["d_ratio_permuted"]
    assert notes["minority_weight"] >= 1.15
    assert not notes["nothing_to_decorrelate"]
    balanced = GroupBalanced().fit(target, task_of(0, data.group)).defense.notes
    assert balanced["minority_weight"] > 2
