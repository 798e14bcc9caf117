"""The matrix: one column per probe, read from the results; the front of arms that nothing beats in everything."""

from __future__ import annotations

import dataclasses

import pytest

from auditor.compare.arms import Arms, DefenseRequest, with_controls
from auditor.compare.gain import BALANCED, CLEAN, POISONED, ROBUST
from auditor.defense import DefenseTask
from auditor.document import Control, Estimate, Metric, check, measured
from auditor.document.codes import Corrected, ForeignEdits, OverItems, Recovery, TriedEdits, UntrustedArm
from auditor.document.facts import LinkFacts
from auditor.mechanism import PrivateDefense
from auditor.registry import ProbeEntry, Shown, Table
from auditor.runner.execute import TrainedCache
from auditor.targets.tag import DefenseTag
from tests.compare.fake import Fake, register
from tests.compare.finished import cell, compared, number
from tests.toys import toy_target

NONE, FAKE = DefenseRequest("none", None), DefenseRequest("fake", Fake())
AUC = Metric("auc", "auc", "higher", "ranking")
ACCURACY = Metric("accuracy", "share", "lower", "damage")
PARTS = (
    ProbeEntry("leaks", "privacy", "m:f", "", ("f",), Shown("auc")),
    ProbeEntry("leaks-too", "privacy", "m:f", "", ("f",), Shown("hit_rate", "at=10")),
    ProbeEntry("breaks", "robustness", "m:f", "", ("f",), Shown("robust_accuracy", as_value=True)),
    ProbeEntry("falls", "shift", "m:f", "", ("f",), Shown("accuracy")),
    ProbeEntry("own-table", "privacy", "m:f", "", ("f",), Shown("auc"), defenses=("fake",)),
)


@pytest.fixture(autouse=True)
def _probes(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, "attacks", Table(probes=PARTS))


def gain(arm: str, seed: int, *numbers, **more):
    return cell("gain", "defense", arm, seed, *numbers, **more)


def test_every_probe_has_a_column_whatever_its_number_is_called() -> None:
    hits = Metric("hit_rate", "share", "higher")
    cells = []
    for arm, leak in (("none", 0.7), ("fake", 0.6)):
        cells += [
            cell("leaks", "privacy", arm, 0, number(AUC, leak, 0.55, judged=True), number(AUC, 0.9, 0.5, subset="all")),
            cell("leaks-too", "privacy", arm, 0, number(hits, 0.3, 0.1, subset="at=10"), number(hits, 0.9, 0.1)),
            cell("falls", "shift", arm, 0, number(ACCURACY, leak, 0.8, judged=True)),
            gain(arm, 0, number(CLEAN, leak)),
        ]
    arms = compared([NONE, FAKE], cells, (0,))
    shown = {(h.family, h.probe, h.metric, h.subset): h for h in arms["none"].headlines}
    assert list(shown) == [
        ("utility", "", "clean_accuracy", ""),
        ("privacy", "leaks", "auc", ""),
        ("privacy", "leaks-too", "hit_rate", "at=10"),
        ("shift", "falls", "accuracy", ""),
    ]
    excess = shown["privacy", "leaks", "auc", ""]
    assert (excess.shown, excess.worse_when, excess.estimate.value) == ("excess", "higher", pytest.approx(0.15))
    fall = shown["shift", "falls", "accuracy", ""]
    assert (fall.shown, fall.worse_when, fall.estimate.value) == ("excess", "higher", pytest.approx(0.1))
    clean = shown["utility", "", "clean_accuracy", ""]
    assert (clean.shown, clean.worse_when, clean.unit) == ("value", "lower", "share")
    (difference,) = next(h for h in arms["fake"].headlines if h.probe == "leaks").differences
    assert (difference.to, difference.estimate.value) == ("none", pytest.approx(-0.1))


def test_of_several_judged_numbers_the_worst_of_each_seed_counts() -> None:
    falls = {0: {"a": 0.1, "b": 0.2}, 1: {"a": 0.5, "b": 0.3}}
    cells = [
        cell(
            "falls",
            "shift",
            "none",
            seed,
            *(number(ACCURACY, 0.9 - fall, 0.9, subset=subset, judged=True) for subset, fall in by.items()),
            number(ACCURACY, 0.0, 0.9, subset="doubtful"),
        )
        for seed, by in falls.items()
    ]
    (shown,) = compared([NONE], cells, (0, 1))["none"].headlines
    assert shown.by_seed == pytest.approx((0.2, 0.5))
    assert shown.estimate.value == pytest.approx(0.35)
    assert shown.subset == ""
    one = cell("falls", "shift", "none", 0, number(ACCURACY, 0.8, 0.9, subset="a", judged=True))
    (alone,) = compared([NONE], [one], (0,))["none"].headlines
    assert alone.subset == "a"


def test_a_number_that_a_seed_lacks_is_a_gap_and_a_share_ends_at_one() -> None:
    cells = [gain("none", seed, number(CLEAN, value)) for seed, value in ((0, 0.995), (2, 0.998))]
    (shown,) = compared([NONE], cells, (0, 1, 2))["none"].headlines
    assert shown.by_seed == (0.995, None, 0.998)
    assert shown.estimate.hi == 1.0


def test_edits_found_on_any_arm_stand_in_place_of_the_probes_own_where_they_were_tried() -> None:
    own = number(ROBUST, 0.6, 0.7, subset="eps=0.05", judged=True)
    probe = [cell("breaks", "robustness", arm, 0, own) for arm in ("none", "fake")]
    for tried, name in ((True, ""), (False, "breaks")):
        worst = [number(ROBUST, 0.5, subset=eps) for eps in ("eps=0.01", "eps=0.05")] if tried else []
        gains = [gain(arm, 0, number(CLEAN, 0.8), *worst) for arm in ("none", "fake")]
        arms = compared([NONE, FAKE], [*probe, *gains], (0,))
        robust = [h for h in arms["fake"].headlines if h.metric == "robust_accuracy"]
        assert [(h.probe, h.subset, h.shown, h.family) for h in robust] == [(name, "eps=0.05", "value", "robustness")]
        assert robust[0].estimate.value == (0.5 if tried else 0.6)


@pytest.mark.parametrize(
    ("status", "attacks", "code"),
    [
        ("ok", {"eps=0.05": 7}, TriedEdits(edits="every")),
        ("ok", {}, TriedEdits(edits="own")),
        ("skipped", {"eps=0.05": 7}, ForeignEdits(edits="transferred")),
    ],
)
def test_a_robust_gain_says_which_edits_were_tried(status: str, attacks, code) -> None:
    requests = with_controls(["repair"])
    own, control = requests[1].spec, requests[2].spec
    cells = []
    for spec, base in ((own, 0.6), (control, 0.5)):
        for seed in range(5):
            robust = number(ROBUST, base + 0.001 * seed * (spec == own), subset="eps=0.05", judged=True)
            done = status if spec == own else "ok"
            cells.append(gain(spec, seed, robust, params={"attacks": attacks}))
            cells.append(cell("breaks", "robustness", spec, seed, *[robust] * (done == "ok"), status=done))
    (decision,) = compared(requests, cells, range(5))[own].decisions
    assert (decision.about, decision.to, decision.codes) == ("robustness", control, (code,))
    assert decision.status == ("not-settled" if status == "skipped" else "helps")


def test_a_gain_on_a_poisoned_graph_is_one_over_edits_made_against_another_model() -> None:
    requests = with_controls(["repair"])
    own, control = requests[1].spec, requests[2].spec
    cells = [
        gain(spec, seed, number(POISONED, base + 0.001 * seed * (spec == own), subset="metattack=0.25"))
        for spec, base in ((own, 0.6), (control, 0.5))
        for seed in range(5)
    ]
    (decision,) = compared(requests, cells, range(5))[own].decisions
    assert (decision.about, decision.subset, decision.status) == (
        "poisoned-accuracy",
        "metattack=0.25",
        "not-settled",
    )
    assert decision.codes == (ForeignEdits(edits="poisoned"),)


@pytest.mark.parametrize(("gained", "checks"), [(0.1, ("weak",)), (-0.1, ())])
def test_a_check_that_failed_on_the_arm_or_its_control_spoils_what_is_said(gained: float, checks) -> None:
    requests = with_controls(["repair"])
    own, control = requests[1].spec, requests[2].spec
    weak = (check("weak", "strength", False, "seen"), check("odd", "warning", "fail", "seen"))
    cells = []
    for seed in range(10):
        cells.append(gain(own, seed, number(BALANCED, 0.5 + gained + 0.001 * seed)))
        cells.append(gain(control, seed, number(BALANCED, 0.5), validity=weak if seed == 3 else ()))
    (decision,) = compared(requests, cells, range(10))[own].decisions
    found = [code.checks for code in decision.codes if isinstance(code, UntrustedArm)]
    assert found == ([checks] if checks else [])


def test_a_private_model_is_judged_by_links_probe_by_probe() -> None:
    requests = [r for r in with_controls(["edge-rand:epsilon=5"]) if r.spec != "gap:hops=0"]
    base, defense = toy_target(epochs=1), requests[1].defense
    assert isinstance(defense, PrivateDefense)
    promise = defense.planned(base, DefenseTask(0, TrainedCache()))
    private = dataclasses.replace(base, defense=DefenseTag("edge-rand", "1", 0, "base", guarantee=promise))
    arms = Arms(targets={(requests[1].spec, 0): private, (requests[2].spec, 0): private})
    facts = LinkFacts(positives=10, negatives=10)
    cells = []
    for seed in (0, 1):
        for request, accuracy, leak in zip(requests, (0.8, 0.7, 0.6), (0.7, 0.65, 0.5), strict=True):
            jitter = 0.01 * seed * (request is requests[1])
            leaked = [number(AUC, leak + jitter, 0.5, judged=True, facts=facts)]
            cells.append(gain(request.spec, seed, number(CLEAN, accuracy + jitter)))
            cells += [cell(f"leaks:n={n}", "privacy", request.spec, seed, *leaked) for n in (1, 2)]
            cells.append(cell("falls", "shift", request.spec, seed, number(ACCURACY, 0.8, 0.9, judged=True)))
    found = compared(requests, cells, (0, 1), arms)
    said = found[requests[1].spec].decisions
    assert found[requests[2].spec].decisions == ()  # a control, with a Guarantee of its own
    assert [(d.about, d.probe, d.status) for d in said] == [
        ("utility", "", "helps"),
        ("accuracy", "", "helps"),
        ("links", "leaks:n=1", "hurts"),
        ("links", "leaks:n=2", "hurts"),
    ]
    assert said[0].estimate is not None
    assert said[0].estimate.value == pytest.approx(0.705 - 0.5)


def test_a_reweighting_of_a_trained_model_is_judged_over_its_test_items_beside_an_oracle_and_together() -> None:
    requests = with_controls(["l2r", "group-balanced"])
    refit = dataclasses.replace(toy_target(epochs=1), defense=DefenseTag("", "1", 0, "base", starts_trained=True))
    arms = Arms(targets={(request.spec, 0): refit for request in requests[1:]})
    values = {"none": 0.5, "uniform-refit": 0.6, "random-weights": 0.59, "l2r": 0.63, "group-balanced": 0.7}
    beside = {"l2r": ("uniform-refit", "random-weights", "none"), "group-balanced": ("uniform-refit", "none")}

    def paired(spec: str, other: str) -> Control:
        contrast = number(BALANCED, values[spec] - values[other]).estimate
        return Control(name=other, estimate=Estimate(value=values[other]), contrast=contrast)

    cells = []
    for spec, value in values.items():
        controls = [paired(spec, other) for other in beside.get(spec, () if spec == "none" else ("none",))]
        cells.append(gain(spec, 0, measured(BALANCED, Estimate(value=value), finding="f", controls=controls)))
    found = compared(requests, cells, (0,), arms)
    balanced, recovery = found["l2r"].decisions
    assert (balanced.about, balanced.to, balanced.status) == ("balanced-accuracy", "uniform-refit", "helps")
    assert balanced.codes == (OverItems(), Corrected(together=2, level=0.05))  # the second step of Holm
    (share,) = recovery.codes
    assert isinstance(share, Recovery)
    assert (share.share, share.of, share.by) == (pytest.approx(0.3), pytest.approx(0.1), "group-balanced")
    assert [decision.about for decision in found["group-balanced"].decisions] == ["balanced-accuracy"]
    (shown,) = found["l2r"].headlines
    assert {d.to: d.judged for d in shown.differences} == {
        "uniform-refit": True,
        "random-weights": True,
        "none": False,
    }


def test_pareto_front_keeps_what_nothing_beats_in_everything() -> None:
    points = {"a": (0.9, 0.1), "b": (0.8, 0.05), "worse": (0.8, 0.2), "a-twin": (0.9, 0.1), "half": (0.99, None)}
    cells = []
    for arm, (utility, leak) in points.items():
        cells.append(gain(arm, 0, number(CLEAN, utility)))
        if leak is not None:
            cells.append(cell("leaks", "privacy", arm, 0, number(AUC, 0.5 + leak, 0.5, judged=True)))
    arms = compared([DefenseRequest(arm, None) for arm in points], cells, (0,))
    assert {arm for arm, row in arms.items() if row.pareto} == {"a", "b", "a-twin"}


def test_a_probe_of_one_defences_artefact_takes_no_part_in_the_front() -> None:
    cells = [gain(arm, 0, number(CLEAN, 0.9)) for arm in ("none", "fake")]
    cells.append(cell("own-table", "privacy", "fake", 0, number(AUC, 0.9, 0.5, judged=True)))
    arms = compared([NONE, FAKE], cells, (0,))
    assert [h.probe for h in arms["fake"].headlines] == ["", "own-table"]
    assert arms["none"].pareto
    assert arms["fake"].pareto
