"""The comparison: Pareto front, arms that cannot be fitted, flips tried on every arm, what is judged and marked."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import pytest
from torch import Tensor

from auditor.audit import Interval, MatrixEntry, MatrixRow, from_bytes, to_bytes
from auditor.compare import arms as defending
from auditor.compare.arms import DefenseRequest, fit_defended, make_defense, with_controls
from auditor.compare.gain import ArmScores, gain_measurements, score_arm
from auditor.compare.matrix import _Arm, _marked, _recovery_words, _with_pareto
from auditor.compare.run import Arms, _arm_rows, run_compare
from auditor.data.deeprobust import poisoned_by
from auditor.errors import ConfigError, SkippedError
from auditor.policy import Policy
from auditor.probe import DefenseTask, FlipSet
from auditor.runner.document import RunSettings
from auditor.runner.execute import TrainedCache
from auditor.runner.plan import choose_probes
from auditor.targets.target import Capability, Target
from tests.compare.test_comparison_words import paired
from tests.runner.test_execute import Silent
from tests.toys import sbm_graph, toy_target


def _row(name: str, utility: float, leak: float) -> MatrixRow:
    return MatrixRow(
        defense=name,
        entries=(
            MatrixEntry(family="utility", name="clean_accuracy", better="higher", value=utility, ci=Interval()),
            MatrixEntry(family="privacy", name="leak", better="lower", value=leak, ci=Interval()),
        ),
    )


def test_pareto_front_keeps_what_nothing_beats_in_everything() -> None:
    rows = _with_pareto([_row("a", 0.9, 0.1), _row("b", 0.8, 0.05), _row("worse", 0.8, 0.2), _row("a-twin", 0.9, 0.1)])
    assert {row.defense for row in rows if row.pareto} == {"a", "b", "a-twin"}


def test_worst_case_is_over_every_set_within_the_budget_and_bad_sets_are_dropped() -> None:
    target = toy_target()
    edges = target.graph.pair_keys()
    small, large = FlipSet(3, edges[:3]), FlipSet(40, edges[:40])
    cheat = FlipSet(3, edges[:60])
    scores = score_arm(target, [small, large, cheat])
    assert sorted(scores.worst) == [3, 40]
    assert scores.attacks == {3: 1, 40: 2}
    assert scores.worst[40].mean() <= scores.worst[3].mean() <= scores.clean.mean()
    assert scores.clean.mean() == pytest.approx(target.accuracy())


def test_gain_of_an_arm_over_itself_is_zero_with_an_interval_around_it() -> None:
    target = toy_target()
    scores = score_arm(target, [FlipSet(9, target.graph.pair_keys()[:9])])
    y = target.graph.y[target.split.test].numpy()
    rows = gain_measurements(scores, {"twin": scores, "none": scores}, y, {9: "eps=0.05"}, np.random.default_rng(0))
    assert {row.name for row in rows} >= {
        "clean_accuracy",
        "robust_accuracy",
        "balanced_accuracy",
        "clean_accuracy/none",
    }
    for row in rows:
        assert row.advantage is not None
        assert row.advantage.value == 0
        assert row.advantage.ci.lo is not None and row.advantage.ci.hi is not None  # noqa: PT018
        assert row.advantage.ci.lo <= 0 <= row.advantage.ci.hi


@dataclasses.dataclass(frozen=True)
class Fake:
    """A defence that retrains, skips or crashes."""

    mode: str = "retrain"
    id: ClassVar[str] = "fake"
    version: ClassVar[str] = "1"
    needs: ClassVar[frozenset[Capability]] = frozenset()
    tasks: ClassVar[tuple[str, ...]] = ("node",)

    def fit(self, target: Target, task: DefenseTask) -> Target:
        if self.mode == "skip":
            raise SkippedError("not for this target")
        if self.mode == "crash":
            raise ZeroDivisionError("planted")
        if self.mode == "misfit":
            raise ConfigError("planted")
        return dataclasses.replace(
            target.retrained(seed=task.seed + 7), digest=f"{target.digest}{self.mode}{task.seed}"
        )

    def wrap(self, base: Target, tensors: Mapping[str, Tensor], task: DefenseTask) -> Target:
        raise AssertionError

    def controls(self) -> tuple[str, ...]:
        return ()


def test_an_arm_that_cannot_be_fitted_says_why_and_the_others_go_on() -> None:
    target = toy_target()
    arms = [
        DefenseRequest("none", None),
        *(DefenseRequest(f"fake:mode={m}", Fake(m)) for m in ("retrain", "skip", "crash")),
    ]
    probes = choose_probes(only="structure-evasion,strata", profile="quick")
    settings = RunSettings((0, 1), "quick", Policy.named("standard"))
    observer = Silent()
    audit = run_compare(target, arms, probes, settings, observer=observer)
    assert audit.matrix is not None
    rows = {row.defense: row for row in audit.matrix.rows}
    assert rows["fake:mode=skip"].reason == "not for this target"
    assert rows["fake:mode=crash"].reason == "ZeroDivisionError: planted"
    assert rows["none"].entries
    difference = next(e for e in rows["fake:mode=retrain"].entries if e.name == "clean_accuracy").differences[0]
    assert difference.to == "none"
    assert difference.ci is not None
    assert audit.verdict.exit_code in (1, 3)  # a crash is no verdict, unless something failed as well
    statuses = {(cell.defense, cell.status) for cell in audit.cells}
    assert ("fake:mode=crash", "error") in statuses
    assert ("fake:mode=skip", "skipped") in statuses
    assert len(observer.rows) == 2 * 4 * 2


@pytest.mark.parametrize(("control_of", "raised"), [("", True), ("none", False)])
def test_a_parameter_that_does_not_fit_is_said_before_anything_is_measured(control_of, raised) -> None:
    arms = [DefenseRequest("none", None), DefenseRequest("fake:mode=misfit", Fake("misfit"), control_of=control_of)]
    probes, settings = choose_probes(only="strata"), RunSettings((0,), "quick", Policy.named("standard"))
    observer = Silent()
    if raised:
        with pytest.raises(ConfigError, match="planted"):
            run_compare(toy_target(), arms, probes, settings, observer=observer)
        assert observer.rows == []
    else:  # a control that the user did not ask for is one row
        audit = run_compare(toy_target(), arms, probes, settings, observer=observer)
        assert [cell.status for cell in audit.cells if cell.probe == "strata"] == ["ok", "error"]


def test_every_cell_that_runs_was_planned(monkeypatch: pytest.MonkeyPatch) -> None:
    observer, planned = Silent(), []
    monkeypatch.setattr(observer, "planned", planned.extend)
    arms = with_controls(["joint-cluster:partition=bfs,clusters=3,prototypes=frozen"], "quick")
    settings = RunSettings((0,), "quick", Policy.named("standard"))
    probes = choose_probes(family="privacy", profile="quick")
    run_compare(toy_target(epochs=2), arms, probes, settings, observer=observer)
    seen = [(row.defense, row.probe) for row in observer.rows]
    assert [(cell.defense, cell.request.spec) for cell in planned] == seen
    assert ("joint-cluster:clusters=3,partition=bfs", "partition-leak") in seen
    assert ("none", "partition-leak") not in seen


def test_every_arm_of_a_seed_is_tried_with_the_same_attacks() -> None:
    target = toy_target()
    arms = [DefenseRequest("none", None), DefenseRequest("fake", Fake())]
    settings = RunSettings((0,), "quick", Policy.named("standard"))
    audit = run_compare(
        target, arms, choose_probes(only="structure-evasion", profile="quick"), settings, observer=Silent()
    )
    attacks = {cell.defense: cell.params["attacks"] for cell in audit.cells if cell.probe == "gain"}
    assert attacks["none"] == attacks["fake"]
    own = {cell.defense: cell for cell in audit.cells if cell.probe == "structure-evasion"}
    for cell in audit.cells:
        if cell.probe == "gain":
            worst, alone = (
                next(m for m in row.measurements if m.name == "robust_accuracy" and m.subset == "eps=0.05")
                for row in (cell, own[cell.defense])
            )
            assert worst.value is not None and alone.value is not None  # noqa: PT018
            assert worst.value <= alone.value + 1e-9


def test_controls_come_along_once_and_defaults_are_left_out_of_the_name() -> None:
    requests = with_controls(["l2r:mode=head", "joint-cluster:tau=1.0"])
    specs = [request.spec for request in requests]
    assert specs[:3] == ["none", "l2r", "joint-cluster"]
    assert "uniform-refit" in specs
    assert "joint-cluster:arm=ce" in specs
    assert len(set(specs)) == len(specs)
    assert next(r for r in requests if r.spec == "uniform-refit").control_of == "l2r"


@pytest.mark.parametrize(
    ("text", "words"),
    [("l3r", 'Did you mean "l2r"'), ("l2r:mod=head", "mod"), ("l2r:lam=much", "a number")],
)
def test_bad_defence_is_refused(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make_defense(text)


def test_defence_of_another_task_is_skipped_with_the_reason() -> None:
    with pytest.raises(SkippedError, match="this one is graph"):
        fit_defended(toy_target("graph-gin", epochs=2), Fake(), seed=0, models=TrainedCache())


def test_no_defence_is_an_error() -> None:
    with pytest.raises(ConfigError, match="list defenses"):
        defending.with_controls([])


def test_a_private_defence_stands_beside_its_edge_free_control_and_the_constant_predictor() -> None:
    target = toy_target(epochs=20)
    probes = choose_probes(only="posterior-similarity", profile="quick")
    settings = RunSettings((0, 1), "quick", Policy.named("standard"))
    defenses = [r for r in with_controls(["edge-rand:epsilon=5"]) if r.spec != "gap:hops=0"]
    audit = run_compare(target, defenses, probes, settings, observer=Silent())
    assert audit.matrix is not None
    rows = {row.defense: row for row in audit.matrix.rows}
    private, control = rows["edge-rand:epsilon=5.0"], rows["edge-rand:hops=0"]
    assert private.guarantee is not None and control.guarantee is not None  # noqa: PT018
    assert (private.guarantee.epsilon, control.guarantee.epsilon) == (5.0, 0.0)
    assert private.guarantee.noise_seed == "recorded"
    y = target.graph.y[target.split.test]
    majority = 100 * float(y.bincount().max() / len(y))
    accuracy = next(word for word in private.words if word.startswith("accuracy: "))
    assert f"over the constant predictor ({majority:.1f} %)" in accuracy
    assert "over an edge-free model" in accuracy
    assert "points over edge-rand:hops=0" in accuracy
    assert any(word.startswith("links: AUC ") and "edge-rand:hops=0" in word for word in private.words)
    assert not any("edge-free" in word for word in (*rows["none"].words, *control.words))
    assert from_bytes(to_bytes(audit)) == audit


def test_links_of_a_private_target_are_sought_among_the_true_edges() -> None:
    target = toy_target(epochs=20)
    request = with_controls(["edge-rand:hops=0"])[1]
    settings = RunSettings((0,), "quick", Policy.named("standard"))
    probes = choose_probes(only="posterior-similarity", profile="quick")
    audit = run_compare(target, [DefenseRequest("none", None), request], probes, settings, observer=Silent())
    truth = {
        cell.defense: next(row.evidence for row in cell.validity if row.id == "link-truth")
        for cell in audit.cells
        if cell.probe == "posterior-similarity"
    }
    assert truth["edge-rand:hops=0"] == truth["none"]


def test_the_difference_of_a_refit_to_the_trained_model_is_printed_and_not_judged() -> None:
    """Seeds of a refit are no new trainings: intervals are over test items, no arm is marked for the refit itself."""
    target = toy_target(graph=sbm_graph(240), epochs=5)
    audit = run_compare(
        target,
        with_controls(["l2r"]),
        choose_probes(only="strata", profile="quick"),
        RunSettings((0, 1), "quick", Policy.named("standard")),
        observer=Silent(),
    )
    assert audit.matrix is not None
    row = next(r for r in audit.matrix.rows if r.defense == "l2r")
    entry = next(e for e in row.entries if e.name == "balanced_accuracy")
    by = {d.to: d for d in entry.differences}
    assert (by["none"].judged, by["uniform-refit"].judged) == (False, True)
    assert all(d.ci is not None and d.ci.lo is not None and d.ci.lo <= (d.value or 0.0) for d in by.values())
    assert any("over the test items of one trained model" in said for said in row.words)
    found = {f.id: f for f in audit.findings if f.defense == "l2r"}
    assert found["l2r-effect"].threshold == 0.01
    assert found["l2r-nothing-to-decorrelate"].status == "pass"
    (gain,) = [c for c in audit.cells if c.probe == "gain" and c.defense == "l2r" and c.seed == 0]
    rows = {r.id: r.status for r in gain.validity}
    assert rows["head-folds-back"] == "pass"
    assert {"head-is-moved-by-weights", "class-prior", "ess-floor", "dependence", "weak-control"} <= set(rows)


@pytest.mark.parametrize(("right", "status"), [(100, "pass"), (98, "warn"), (70, "fail")])
def test_a_handicapped_control_is_called_weak(right: int, status: str) -> None:
    """Proven beyond a point: fail. One item of a hundred is no straw man."""
    target, control = (
        fit_defended(toy_target(graph=sbm_graph(240), epochs=5), make_defense(spec), seed=0, models=TrainedCache())
        for spec in ("l2r", "uniform-refit")
    )
    y = np.arange(100) % 2
    answers = np.where(np.arange(100) < right, y, 1 - y)
    arms = Arms()
    arms.scores["none", 0] = ArmScores(np.ones(100, dtype=bool), y, {}, {})
    arms.scores["uniform-refit", 0] = ArmScores(answers == y, answers, {}, {})
    (row,) = _arm_rows(with_controls(["l2r"])[1], [control], target.defense, arms, y, {})
    assert (row.id, row.status) == ("weak-control", status)


def test_a_control_that_collapsed_in_balanced_accuracy_is_weak_however_common_its_class() -> None:
    target, control = (
        fit_defended(toy_target(graph=sbm_graph(240), epochs=5), make_defense(spec), seed=0, models=TrainedCache())
        for spec in ("l2r", "uniform-refit")
    )
    y = (np.arange(200) < 180).astype(np.int64)
    trained = np.where(np.arange(200) % 5 == 0, 1 - y, y)  # 80 % of each class
    arms = Arms()
    arms.scores["none", 0] = ArmScores(trained == y, trained, {}, {})
    arms.scores["uniform-refit", 0] = ArmScores(y == 1, np.ones(200, dtype=np.int64), {}, {})  # 90 %, one class
    (row,) = _arm_rows(with_controls(["l2r"])[1], [control], target.defense, arms, y, {})
    assert row.status == "fail"
    assert "balanced accuracy -30.0 points" in row.evidence


def test_unequal_encoders_are_no_fair_arms() -> None:
    target = toy_target(epochs=2)
    own, control = (
        fit_defended(target, make_defense(spec), seed=0, models=TrainedCache())
        for spec in ("joint-cluster:clusters=2", "joint-cluster:arm=ce")
    )
    arms = Arms()
    for spec in ("none", "joint-cluster:arm=ce"):
        arms.scores[spec, 0] = score_arm(target, [])
    request, y = with_controls(["joint-cluster:clusters=2"])[1], target.graph.y[target.split.test].numpy()
    rows = {r.id: r.status for r in _arm_rows(request, [control], own.defense, arms, y, {})}
    assert rows["arms-matched"] == "pass"
    assert own.defense is not None
    wider = dataclasses.replace(own.defense, notes={**own.defense.notes, "encoder_parameters": 10**6})
    rows = {r.id: r.status for r in _arm_rows(request, [control], wider, arms, y, {})}
    assert rows["arms-matched"] == "fail"


def test_a_poisoned_graph_has_poisoned_accuracy_and_says_where_the_poison_is_from() -> None:
    target = toy_target(graph=sbm_graph(240), epochs=5)
    poisoned = dataclasses.replace(
        target, graph=dataclasses.replace(target.graph, name="deeprobust/cora:metattack=0.25"), _clean={}
    )
    assert poisoned_by("deeprobust/cora") == poisoned_by("cora:metattack=0.25") == ""
    audit = run_compare(
        poisoned,
        with_controls(["l2r"]),
        choose_probes(only="strata", profile="quick"),
        RunSettings((0,), "quick", Policy.named("standard")),
        observer=Silent(),
    )
    assert next(row.status for row in audit.validity if row.id == "attack-origin") == "warn"
    assert audit.matrix is not None
    names = {(e.name, e.subset) for e in audit.matrix.rows[0].entries}
    assert ("poisoned_accuracy", "metattack=0.25") in names
    assert "clean_accuracy" not in {name for name, _ in names}


def test_what_edits_take_from_a_defended_model_is_judged_at_five_percent() -> None:
    target = toy_target()
    scores = score_arm(target, [FlipSet(9, target.graph.pair_keys()[:9])])
    y = target.graph.y[target.split.test].numpy()
    rows = gain_measurements(
        scores, {"ce": scores}, y, {9: "eps=0.05"}, np.random.default_rng(0), judged="defense-gain"
    )
    judged = {row.name: row for row in rows if row.primary}
    assert set(judged) == {"clean_accuracy", "worst_case_accuracy"}
    loss = judged["worst_case_accuracy"]
    assert loss.advantage is not None
    assert loss.advantage.value == pytest.approx(scores.clean.mean() - scores.worst[9].mean())
    assert loss.limit is not None
    assert (loss.limit.name, loss.limit.value) == ("max_worst_case_loss_pt", 0.10)
    assert not any(row.primary for row in gain_measurements(scores, {"ce": scores}, y, {}, np.random.default_rng(0)))


def test_recovery_is_a_share_of_a_gain_that_is_there() -> None:
    def arm(spec: str, value: float, half: float) -> _Arm:
        made = _Arm(DefenseRequest(spec, make_defense(spec)), ["uniform-refit"], None, True)
        entry = MatrixEntry(family="utility", name="balanced_accuracy", better="higher", value=0.5, ci=Interval())
        made.entries.append(entry.model_copy(update={"differences": (paired("uniform-refit", value, half),)}))
        return made

    weights = arm("l2r", 0.01, 0.02)
    (said,) = _recovery_words(weights, {"l2r": weights, "group-balanced": arm("group-balanced", 0.05, 0.01)})
    assert said.startswith("recovery: 20 % of the 5.0 points that group-balanced")
    assert _recovery_words(weights, {"group-balanced": arm("group-balanced", 0.05, 0.06)}) == ()  # no gain to share
    assert _recovery_words(weights, {"l2r": weights}) == ()


def test_a_failed_check_stands_before_a_sentence_and_harm_stands_against_a_weak_control() -> None:
    assert _marked("balanced accuracy: +5.0 points: gain", {"weak-control": "strength"}).startswith(
        "untrusted, weak-control failed: balanced"
    )
    assert _marked("balanced accuracy: -5.0 points: harm", {"weak-control": "strength"}).startswith("balanced")
    assert _marked("-5.0 points: harm", {"head-folds-back": "integrity"}).startswith("untrusted, head-folds-back")
    assert _marked("said", {}) == "said"


def test_a_defended_target_is_not_compared() -> None:
    target = fit_defended(
        toy_target(graph=sbm_graph(240), epochs=2), make_defense("l2r"), seed=0, models=TrainedCache()
    )
    with pytest.raises(ConfigError, match="defended by l2r already"):
        run_compare(
            target,
            with_controls(["l2r"]),
            choose_probes(only="strata", profile="quick"),
            RunSettings((0,), "quick", Policy.named("standard")),
            observer=Silent(),
        )
    with pytest.raises(ConfigError, match="no defence was named"):
        with_controls(["none"])
