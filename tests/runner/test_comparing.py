"""A comparison from end to end: arms that cannot be fitted, edits tried on every arm, what is judged and shown."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from auditor import registry
from auditor.compare.arms import DefenseRequest, fit_defended, make_defense, with_controls
from auditor.document import Arm, Audit, Headline, from_bytes, to_bytes
from auditor.document.codes import OneSeed, OverItems
from auditor.errors import ConfigError, UsageError
from auditor.policy import Policy
from auditor.runner.assemble import RunSettings
from auditor.runner.bench import Bench
from auditor.runner.execute import TrainedCache
from auditor.runner.plan import choose_probes, plan_compare
from auditor.runner.record import Header, Record
from auditor.runner.shards import joined_shards
from tests.compare.fake import Fake
from tests.runner.running import comparison
from tests.toys import Silent, ToyRecipe, sbm_graph, toy_target

EVASION = "structure-evasion:cycles=1,losses=tanh"
"""The probe at its shortest, where what the search finds is not looked at."""


def settings(*seeds: int) -> RunSettings:
    return RunSettings(seeds, "quick", Policy.named("standard"))


def arms_of(audit: Audit) -> dict[str, Arm]:
    assert audit.comparison is not None
    return {arm.arm: arm for arm in audit.comparison.arms}


def headline(arm: Arm, metric: str) -> Headline:
    return next(each for each in arm.headlines if each.metric == metric)


def test_an_arm_that_cannot_be_fitted_says_why_and_the_others_go_on() -> None:
    requests = [
        DefenseRequest("none", None),
        *(DefenseRequest(f"fake:mode={m}", Fake(m)) for m in ("retrain", "skip", "crash")),
    ]
    probes = choose_probes(only=f"{EVASION},strata", profile="quick")
    observer = Silent()
    audit = comparison(toy_target(), requests, probes, settings(0, 1), observer=observer)
    arms = arms_of(audit)
    assert arms["fake:mode=skip"].reason == "not for this target"
    assert arms["fake:mode=crash"].reason == "ZeroDivisionError: planted"
    assert arms["none"].headlines
    (difference,) = headline(arms["fake:mode=retrain"], "clean_accuracy").differences
    assert difference.to == "none"
    assert difference.estimate.half_width is not None
    assert len(difference.by_seed) == 2
    assert audit.verdict.exit_code in (1, 3)  # a crash is no verdict, unless something failed as well
    statuses = {(cell.arm, cell.status) for cell in audit.cells}
    assert ("fake:mode=crash", "error") in statuses
    assert ("fake:mode=skip", "skipped") in statuses
    fits, cells, gains = 2 * 3, 2 * 4 * 2, 2 * 2
    assert len(observer.rows) == fits + cells + gains


@pytest.mark.parametrize(("control_of", "raised"), [("", True), ("none", False)])
def test_a_parameter_that_does_not_fit_is_said_before_anything_is_measured(control_of, raised) -> None:
    requests = [DefenseRequest("none", None), DefenseRequest("fake:mode=misfit", Fake("misfit"), control_of=control_of)]
    probes = choose_probes(only="strata")
    observer = Silent()
    if raised:
        with pytest.raises(ConfigError, match="planted"):
            comparison(toy_target(), requests, probes, settings(0), observer=observer)
        assert observer.rows == []
    else:  # a control that the user did not ask for is one row
        audit = comparison(toy_target(), requests, probes, settings(0), observer=observer)
        assert [cell.status for cell in audit.cells if cell.probe == "strata"] == ["ok", "error"]


def test_every_cell_that_runs_was_planned(monkeypatch: pytest.MonkeyPatch) -> None:
    observer, planned = Silent(), []
    monkeypatch.setattr(observer, "planned", planned.extend)
    requests = with_controls(["joint-cluster:partition=bfs,clusters=3,prototypes=frozen"], "quick")
    probes = choose_probes(family="privacy", profile="quick")
    comparison(toy_target(epochs=2), requests, probes, settings(0), observer=observer)
    seen = [(row.arm, row.probe) for row in observer.rows]
    assert sorted((cell.arm, cell.spec) for cell in planned) == sorted(seen)  # what does not apply is said first
    assert ("joint-cluster:clusters=3,partition=bfs", "partition-leak") in seen
    assert ("none", "partition-leak") not in seen


def test_an_interrupted_comparison_keeps_what_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    observer = Silent()

    def stop(row) -> None:
        observer.rows.append(row)
        if len(observer.rows) == 2 + 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(observer, "finished", stop)
    requests = [DefenseRequest("none", None), DefenseRequest("fake", Fake())]
    audit = comparison(toy_target(), requests, choose_probes(only="strata"), settings(0, 1), observer=observer)
    assert [(cell.arm, cell.seed) for cell in audit.cells] == [("none", 0), ("fake", 0), ("none", 1)]
    assert (audit.verdict.status, audit.verdict.exit_code) == ("INCOMPLETE", 130)
    assert audit.coverage.planned == 2 * 2 * 2
    assert arms_of(audit)["none"].headlines


def test_every_arm_of_a_seed_is_tried_with_the_same_attacks() -> None:
    requests = [DefenseRequest("none", None), DefenseRequest("fake", Fake())]
    probes = choose_probes(only="structure-evasion", profile="quick")
    audit = comparison(toy_target(), requests, probes, settings(0), observer=Silent())
    attacks = {cell.arm: cell.params["attacks"] for cell in audit.cells if cell.probe == "gain"}
    assert attacks["none"] == attacks["fake"]
    numbers = {
        (result.arm, result.probe): result.estimate.value
        for result in audit.results
        if (result.metric, result.subset) == ("robust_accuracy", "eps=0.05")
    }
    for arm in ("none", "fake"):
        after_all, after_its_own = numbers[arm, "gain"], numbers[arm, "structure-evasion"]
        assert after_all is not None
        assert after_its_own is not None
        assert after_all <= after_its_own + 1e-9
        shown = [each for each in arms_of(audit)[arm].headlines if each.metric == "robust_accuracy"]
        assert [(each.probe, each.estimate.value) for each in shown] == [("", after_all)]


def test_every_arm_is_held_against_one_training_of_the_undefended_recipe_without_edges() -> None:
    trained = []

    @dataclasses.dataclass(frozen=True)
    class Counting(ToyRecipe):
        def fit(self, graph, split, seed):
            trained.append(graph.num_edges)
            return super().fit(graph, split, seed)

    target = toy_target()
    target = dataclasses.replace(target, recipe=Counting(target.recipe.build))
    requests = [DefenseRequest("none", None), DefenseRequest("fake", Fake())]
    probes = choose_probes(only=EVASION, profile="quick")
    audit = comparison(target, requests, probes, settings(0, 1), observer=Silent())
    assert trained.count(0) == 1
    judged = [result for result in audit.results if result.question == "edge-free"]
    assert [result.arm for result in judged] == ["none", "fake"]
    assert {each.controls[0].estimate.value for result in judged for each in result.by_seed} == {
        judged[0].controls[0].estimate.value
    }
    assert all(result.judgement is not None for result in judged)


def test_a_private_defence_stands_beside_its_edge_free_control_and_the_constant_predictor() -> None:
    target = toy_target(epochs=20)
    probes = choose_probes(only="posterior-similarity", profile="quick")
    requests = [r for r in with_controls(["edge-rand:epsilon=5"]) if r.spec != "gap:hops=0"]
    audit = comparison(target, requests, probes, settings(0, 1), observer=Silent())
    arms = arms_of(audit)
    private, control = arms["edge-rand:epsilon=5.0"], arms["edge-rand:hops=0"]
    assert private.guarantee is not None
    assert control.guarantee is not None
    assert (private.guarantee.epsilon, control.guarantee.epsilon) == (5.0, 0.0)
    assert private.guarantee.noise_seed == "recorded"
    y = target.graph.y[target.split.test]
    accuracy = headline(private, "clean_accuracy").estimate.value or 0.0
    said = {decision.about: decision for decision in private.decisions}
    assert said["utility"].estimate is not None
    assert said["utility"].estimate.value == pytest.approx(accuracy - float(y.bincount().max() / len(y)))
    assert said["accuracy"].to == said["links"].to == "edge-rand:hops=0"
    assert said["links"].probe == "posterior-similarity"
    assert arms["none"].decisions == control.decisions == ()
    assert not any(result.judged for result in audit.results if result.probe == "gain")
    assert from_bytes(to_bytes(audit)) == audit


@pytest.mark.parametrize(("mode", "judged"), [("beside", {"clean_accuracy"}), ("alone", set())])
def test_a_defence_is_judged_against_its_own_control_and_never_against_the_next_best(mode: str, judged: set) -> None:
    probes = choose_probes(only="strata", profile="quick")
    requests = with_controls([f"fake:mode={mode}"])
    audit = comparison(toy_target(epochs=5), requests, probes, settings(0), observer=Silent())
    own = [result for result in audit.results if (result.probe, result.arm) == ("gain", f"fake:mode={mode}")]
    assert {result.metric for result in own if result.judged} == judged
    assert {tuple(control.name for control in result.controls) for result in own} == {("fake:mode=again", "none")}


def test_nothing_is_judged_of_a_control() -> None:
    requests = [DefenseRequest("none", None), DefenseRequest("l2r", make_defense("l2r"), control_of="none")]
    probes = choose_probes(only="strata", profile="quick")
    audit = comparison(toy_target(graph=sbm_graph(240), epochs=5), requests, probes, settings(0), observer=Silent())
    assert not any(result.judged for result in audit.results if result.probe == "gain")


def test_links_of_a_private_target_are_sought_among_the_true_edges() -> None:
    requests = [DefenseRequest("none", None), with_controls(["edge-rand:hops=0"])[1]]
    probes = choose_probes(only="posterior-similarity", profile="quick")
    audit = comparison(toy_target(epochs=20), requests, probes, settings(0), observer=Silent())
    truth = {
        cell.arm: next(row.evidence for row in cell.validity if row.id == "link-truth")
        for cell in audit.cells
        if cell.probe == "posterior-similarity"
    }
    assert truth["edge-rand:hops=0"] == truth["none"]


def test_the_difference_of_a_refit_to_the_trained_model_is_shown_and_not_judged() -> None:
    """Seeds of a refit are no new trainings: intervals are over test items, no arm is marked for the refit itself."""
    target = toy_target(graph=sbm_graph(240), epochs=5)
    probes = choose_probes(only="strata", profile="quick")
    audit = comparison(target, with_controls(["l2r"]), probes, settings(0, 1), observer=Silent())
    arm = arms_of(audit)["l2r"]
    by = {difference.to: difference for difference in headline(arm, "balanced_accuracy").differences}
    assert (by["none"].judged, by["uniform-refit"].judged) == (False, True)
    assert all(difference.estimate.half_width for difference in by.values())
    (decision,) = [each for each in arm.decisions if each.about == "balanced-accuracy"]
    assert any(isinstance(code, OverItems) for code in decision.codes)
    found = {r.finding: r.judgement for r in audit.results if r.arm == "l2r" and r.judgement is not None}
    effect, nothing = found["l2r-effect"], found["l2r-nothing-to-decorrelate"]
    assert effect is not None
    assert effect.threshold == 0.01
    assert nothing is not None
    assert nothing.status == "pass"
    (gain,) = [c for c in audit.cells if c.probe == "gain" and c.arm == "l2r" and c.seed == 0]
    rows = {r.id: r.status for r in gain.validity}
    assert rows["head-folds-back"] == "pass"
    assert {"head-is-moved-by-weights", "class-prior", "ess-floor", "dependence", "weak-control"} <= set(rows)


def test_a_poisoned_graph_has_poisoned_accuracy_which_warns_where_the_poison_is_from() -> None:
    target = toy_target(graph=sbm_graph(240), epochs=5)
    named = dataclasses.replace(target.graph, name="deeprobust/cora:metattack=0.25")
    poisoned = dataclasses.replace(target, graph=named)
    probes = choose_probes(only="strata", profile="quick")
    audit = comparison(poisoned, with_controls(["l2r"]), probes, settings(0), observer=Silent())
    assert [row.touches for row in audit.validity if row.id == "attack-origin"] == [("gain",)]
    names = {(each.metric, each.subset) for each in arms_of(audit)["none"].headlines}
    assert ("poisoned_accuracy", "metattack=0.25") in names
    assert "clean_accuracy" not in {name for name, _ in names}
    assert "poisoned-accuracy" in {decision.about for decision in arms_of(audit)["l2r"].decisions}


def test_probes_of_the_standard_profile_that_did_not_run_are_left_out() -> None:
    requests = [DefenseRequest("none", None), DefenseRequest("fake", Fake())]
    audit = comparison(toy_target(), requests, choose_probes(only="strata"), settings(0), observer=Silent())
    assert audit.comparison is not None
    standard = [id_ for id_, probe in registry.probes().items() if "standard" in probe.profiles]
    assert audit.comparison.left_out == tuple(id_ for id_ in standard if id_ != "strata")


def test_one_seed_has_no_interval_over_seeds() -> None:
    requests = with_controls(["joint-cluster:partition=bfs,clusters=3,prototypes=frozen"], "quick")
    audit = comparison(toy_target(epochs=2), requests, choose_probes(only="strata"), settings(0), observer=Silent())
    arm = arms_of(audit)["joint-cluster:clusters=3,partition=bfs"]
    assert not any(d.estimate.has_interval or d.mark for each in arm.headlines for d in each.differences)
    (decision,) = [each for each in arm.decisions if each.about == "balanced-accuracy"]
    assert (decision.status, decision.codes[0]) == ("not-shown", OneSeed())


def test_a_defended_target_is_not_compared() -> None:
    base = toy_target(graph=sbm_graph(240), epochs=2)
    target = fit_defended(base, make_defense("l2r"), seed=0, models=TrainedCache())
    with pytest.raises(ConfigError, match="defended by l2r already"):
        comparison(target, with_controls(["l2r"]), choose_probes(only="strata"), settings(0), observer=Silent())


def test_the_folder_of_a_comparison_is_no_shard_of_a_run(tmp_path: Path) -> None:
    target, arms = toy_target(epochs=1), ("none", "fake")
    how = {"seeds": (0,), "profile": "quick", "side": settings(0).side}
    bench = Bench(target, plan_compare(target, arms, choose_probes(only="strata"), **how), settings(0).side)
    header = Header(
        version="1", described=bench.describe(), seeds=(0,), profile="quick", options={}, tables={}, argv=()
    )
    with Record.opened(tmp_path) as record:
        record.begin(header)
    with pytest.raises(UsageError, match="holds a comparison"):
        joined_shards([tmp_path])
