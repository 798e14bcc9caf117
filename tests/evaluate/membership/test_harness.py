"""Members against others: who is judged, what is beside it, what is found and what is not."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from auditor.data.graph import Split
from auditor.data.sources import LoadedData
from auditor.data.splits import make_split
from auditor.errors import ConfigError, EvaluationError, SkippedError
from auditor.evaluate.membership.controls import blind
from auditor.evaluate.membership.harness import checked_claim
from auditor.evaluate.membership.references import drawn_splits, fewest_each_way
from auditor.evaluate.membership.scoring import LOW_TPR, Guesser, Scored
from auditor.evaluate.membership.trial import Trial
from auditor.outcomes import LinkOutcome, MembershipOutcome
from auditor.shared import Shared
from auditor.view import SideKnowledge
from tests.evaluate.membership.cells import Remembering, answering, base, row, run
from tests.toys import random_split, toy_target

TRIES = [4, pytest.param(20, marks=pytest.mark.slow)]


def test_validation_is_on_neither_side() -> None:
    target = base(120)
    trial = Trial.of(target)
    assert set(trial.items.tolist()) == set(torch.nonzero(~target.split.val).flatten().tolist())
    assert trial.items[trial.member].equal(torch.nonzero(target.split.train).flatten())
    loud = answering(target, 0.0, 0, remembers=target.split.val)
    louder = answering(target, 9.0, 0, remembers=target.split.val)
    rows = [row(run(each, "membership-threshold"), "auc") for each in (loud, louder)]
    assert rows[0].estimate == rows[1].estimate


@pytest.mark.parametrize("tries", TRIES)
def test_what_a_model_remembers_is_found_each_time(tries: int) -> None:
    found = []
    for seed in range(tries):
        target = base(seed=seed)
        remembering = answering(target, 4.0, seed, remembers=target.split.train)
        result = run(remembering, "membership-threshold", seed=seed)
        found += [row(result, metric).excess for metric in ("headroom", "combined_tpr@0.1")]
        assert row(result).judged
    assert [each.lo > 0 for each in found] == [True] * (2 * tries)


@pytest.mark.parametrize("tries", TRIES)
def test_permuted_members_are_found_by_neither_attack(tries: int) -> None:
    """What was trained on and what is said to have been have nothing to do with each other."""
    claims = {"membership-threshold": 0, "membership-lira": 0}
    for seed in range(tries):
        target = base(200, seed)
        secret = random_split(200, 0.45, 0.1, seed + 1000).train
        remembering = answering(target, 4.0, seed, remembers=secret)
        remembering = dataclasses.replace(remembering, recipe=Remembering(target, 4.0))
        for probe in claims:
            given = {"references": "8"} if probe == "membership-lira" else {}
            claims[probe] += row(run(remembering, probe, seed=seed, **given)).excess.lo > 0
    assert max(claims.values()) <= 1, claims


def test_references_find_what_one_threshold_does_not() -> None:
    target = base(600)
    y = target.graph.y
    hard = torch.randn(600, generator=torch.Generator().manual_seed(1)) * 6

    @dataclasses.dataclass(frozen=True)
    class Recipe(Remembering):
        def fit(self, graph, split: Split, seed: int):  # some nodes are easy for every model
            fit = super().fit(graph, split, seed)
            fit.model.rows[torch.arange(600), y] += hard
            return fit

    recipe = Recipe(target, 3.0)
    made = dataclasses.replace(
        target, model=recipe.fit(target.graph, target.split, 77).model, recipe=recipe, build=None, fixed_nodes=("rows",)
    )
    threshold = row(run(made, "membership-threshold"), "auc").estimate
    lira = run(made, "membership-lira", references="16")
    assert lira.params["attack"]["membership-lira"]["mode"] == "online"
    assert row(lira, "auc").estimate.value > threshold.value + 0.1
    assert {control.name for control in row(lira, "auc").controls} == {"blind", "difficulty", "chance"}
    assert {check.id: check.status for check in lira.validity} == {"references": "pass", "power": "pass"}
    rmia = run(made, "membership-lira", references="16", form="rmia")
    assert row(rmia, "auc").estimate.value > threshold.value


def test_references_of_another_kind_of_model_make_a_pass_untrusted() -> None:
    target = base()
    other = dataclasses.replace(answering(target, 0.0, 0), recipe=Remembering(target, 9.0))
    (check,) = [each for each in run(other, "membership-lira", references="8").validity if each.id == "references"]
    assert (check.status, check.kind) == ("fail", "strength")


def test_one_threshold_for_graphs_rests_on_no_reference() -> None:
    target = toy_target("graph-gin")
    result = run(target, "graph-membership", profile="standard", references="3", replicates="50")
    (check,) = [each for each in result.validity if each.id == "references"]
    held = {m.facts.attack: m.access for m in result.measured}
    assert held == {"threshold": ("labels", "posteriors"), "lira": ("labels", "posteriors", "references")}
    assert not check.spoils(held["threshold"])
    assert check.spoils(held["lira"])
    assert {m.subset for m in result.measured if m.judged} == {"threshold", "lira"}


def test_a_split_by_class_is_given_away_without_any_model() -> None:
    target = base(600)
    spread = dataclasses.replace(target.graph, y=torch.bucketize(torch.arange(600), torch.tensor([30, 80]), right=True))
    data = LoadedData(spread, {}, "", "toy", "")
    split = make_split("per-class:12", data, 0)
    by_class = dataclasses.replace(target, graph=spread, split=split, num_classes=3)
    trial = Trial.of(by_class)
    guess = blind(by_class, trial, features=True, seed=0, shared=Shared())
    assert guess is not None
    scored = Scored.of(trial, [Guesser("attack", (np.zeros(len(guess)),)), Guesser("blind", (guess,))], rng, 100)
    first = scored.comparisons()[0]
    assert (first.name, first.own) == ("blind", (0, 1)), "whoever attacks holds that as well"
    assert first.reached(LOW_TPR[0]).value > 0.2
    answers = answering(by_class, 0.0, 3)
    found = row(run(answers, "membership-threshold"))
    assert found.excess.lo <= 0
    assert found.facts.rivals[0].control == "blind"


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_a_control_at_chance_is_beaten_and_not_added() -> None:
    target = base()
    remembering = answering(target, 4.0, 5, remembers=target.split.train)
    result = run(remembering, "membership-threshold")
    assert row(result, "combined_auc").estimate == row(result, "auc").estimate
    assert row(result).estimate.value == pytest.approx(
        min(each.contrast.value for each in row(result).controls), abs=0.2
    )


def test_a_rate_wants_ten_accused_others() -> None:
    result = run(answering(base(120), 1.0, 0), "membership-threshold")
    for metric in ("tpr@0.1", "combined_tpr@0.1"):
        found = row(result, metric)
        assert (found.estimate.value, found.facts.needed, found.judged) == (None, 100, False)
    rows = run(answering(base(500), 1.0, 0), "membership-threshold").measured
    assert [m.metric for m in rows if m.judged] == ["headroom", "combined_tpr@0.1"] * 2


def test_who_is_exposed_is_shown_beside_its_own_outsiders() -> None:
    target = base()
    remembering = answering(target, 4.0, 2, remembers=target.split.train & (target.graph.y == 0))
    result = run(remembering, "membership-threshold")
    shares = {m.facts.group: m for m in result.measured if m.metric == "found@0.1"}
    assert shares["class=0"].estimate.value > shares["class=1"].estimate.value + 0.2
    assert any(name.startswith("degree=") for name in shares)
    assert not any(m.judged for m in shares.values())
    for m in shares.values():
        beside = m.controls[0]
        assert beside.contrast.value == pytest.approx(m.estimate.value - beside.estimate.value)


@pytest.mark.parametrize(
    ("side", "said"),
    [(SideKnowledge(labels="none"), "grants none"), (SideKnowledge(labels="train"), "who was trained on")],
)
def test_without_labels_of_everybody_it_is_skipped(side: SideKnowledge, said: str) -> None:
    with pytest.raises(SkippedError, match=said):
        run(base(120), "membership-threshold", side=side)


def test_a_split_that_nobody_knows_is_skipped() -> None:
    with pytest.raises(SkippedError, match="not known"):
        run(dataclasses.replace(base(120), split=Split.unknown(120)), "membership-threshold")


@pytest.mark.parametrize(("queries", "asked"), [("all", 2), ("own", 2), ("served", 1), ("none", 1)])
def test_own_graphs_are_asked_about_where_that_is_granted(queries: str, asked: int) -> None:
    result = run(toy_target(epochs=5), "membership-threshold", side=SideKnowledge(queries=queries))
    assert (
        {m.subset for m in result.measured if m.metric == "headroom"} == {"full", "0-hop"} if asked == 2 else {"full"}
    )


def test_an_unknown_word_of_queries_is_a_usage_error() -> None:
    with pytest.raises(ConfigError, match=r'queries is "mine"'):
        SideKnowledge(queries="mine")


def test_untrained_models_stand_beside_it() -> None:
    result = run(toy_target(epochs=5), "membership-threshold", profile="standard")
    assert "untrained" in {control.name for control in row(result, "auc").controls}


def test_a_claim_is_one_finite_score_an_item() -> None:
    with pytest.raises(EvaluationError, match="LinkOutcome"):
        checked_claim(LinkOutcome(lambda pairs: pairs), "it", 3)
    for scores in (torch.zeros(1, 4), torch.full((1, 3), torch.nan)):
        with pytest.raises(EvaluationError, match="expected finite ones"):
            checked_claim(MembershipOutcome(scores, ("full",)), "it", 3)


def test_reference_splits_keep_classes_and_validation_and_are_balanced() -> None:
    target = base(240)
    split, y = target.split, target.graph.y
    made = drawn_splits(split, y, 8, np.random.default_rng(0))
    candidates = split.train | split.test
    times = torch.stack([each.train for each in made]).sum(dim=0)
    for each in made:
        assert each.val.equal(split.val)
        assert (each.train | each.test).equal(candidates)
        assert torch.bincount(y[each.train]).equal(torch.bincount(y[split.train]))
    for c in range(3):
        own = times[candidates & (y == c)]
        assert int(own.max() - own.min()) <= 1
    assert int(times[split.val].sum()) == 0


@pytest.mark.parametrize("count", [2, 5, 8, 13])
def test_how_many_references_have_an_item_is_known_before_they_are_drawn(count: int) -> None:
    target = base(240)
    split, y = target.split, target.graph.y
    made = torch.stack([each.train for each in drawn_splits(split, y, count, np.random.default_rng(1))])
    inside = made.sum(dim=0)[split.train | split.test]
    assert fewest_each_way(split, y, count) == int(torch.minimum(inside, count - inside).min())
