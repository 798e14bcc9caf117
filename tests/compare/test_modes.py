"""A defence served in several ways: modes come along, share one fit, and what is said is that of the least gain."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from auditor.compare.arms import DefenseRequest, with_controls
from auditor.compare.gain import ROBUST
from auditor.document import Decision
from auditor.document.codes import FewSeeds, LeastOfModes, NotTheIdea, TriedEdits
from auditor.policy import Policy
from auditor.runner.assemble import RunSettings
from auditor.runner.finished import Finished
from auditor.runner.plan import choose_probes
from defenses.joint_cluster import method
from tests.compare.finished import cell, compared, number
from tests.runner.running import comparison
from tests.toys import Silent, toy_target


def arm(name: str, mode: str = "") -> str:
    parts = [f"arm={name}"] * bool(name) + [f"prototypes={mode}"] * bool(mode)
    return "joint-cluster" + (":" + ",".join(parts) if parts else "")


QUICK = ["none", arm(""), arm("", "live"), arm("ce"), arm("ce_cluster"), arm("joint_random")]
LIVE = [arm("ce_cluster", "live"), arm("joint_random", "live")]


def specs(texts: list[str], profile: str) -> list[str]:
    return [request.spec for request in with_controls(texts, profile)]


def test_an_open_mode_brings_the_others_and_their_controls_and_a_plain_arm_is_one_arm() -> None:
    assert specs(["joint-cluster"], "quick") == QUICK + LIVE
    again = [arm(name, "recluster") for name in ("", "ce_cluster", "joint_random")]
    assert set(specs(["joint-cluster"], "standard")) == {*QUICK, *LIVE, *again}


@pytest.mark.parametrize("mode", ["frozen", "live"])
def test_a_named_mode_stands_alone(mode: str) -> None:
    own = "" if mode == "frozen" else mode
    expected = {"none", arm("", own), arm("ce"), arm("ce_cluster", own), arm("joint_random", own)}
    requests = with_controls([f"joint-cluster:prototypes={mode}"], "standard")
    assert {request.spec for request in requests} == expected
    assert all(request.modes == () for request in requests)


def test_a_mode_is_a_row_of_its_own_and_a_control_is_not() -> None:
    rows = {request.spec: request for request in with_controls(["joint-cluster"], "quick")}
    assert rows[arm("")].modes == (arm("", "live"),)
    assert rows[arm("", "live")].control_of == ""
    assert rows[arm("ce_cluster", "live")].control_of == arm("", "live")
    assert rows[arm("ce")].control_of == arm("")


def test_modes_share_one_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    fits, real = [], method.fit

    def counted(*args, **kwargs):
        fits.append(kwargs["seed"])
        return real(*args, **kwargs)

    monkeypatch.setattr(method, "fit", counted)
    target = toy_target(epochs=4)
    settings = RunSettings((0, 1), "standard", Policy.named("standard"))
    defenses = with_controls(["joint-cluster:partition=bfs,clusters=4"], "standard")
    assert len(defenses) == 11
    audit = comparison(target, defenses, choose_probes(only="strata"), settings, observer=Silent())
    assert {cell.status for cell in audit.cells} == {"ok"}
    assert sorted(fits) == [0] * 4 + [1] * 4  # joint, ce, ce_cluster, joint_random


ROBUSTNESS = {
    "none": 0.5, arm(""): 0.63, arm("", "live"): 0.64, arm("ce"): 0.60, arm("ce_cluster"): 0.63,
    arm("joint_random"): 0.60, arm("ce_cluster", "live"): 0.56, arm("joint_random", "live"): 0.60,
}  # fmt: skip


def gain_cells(defenses: tuple[DefenseRequest, ...], robust: dict[str, float]) -> Iterator[Finished]:
    for defense in defenses:
        sign = 1 if defense.control_of else -1  # so that differences vary over seeds
        for seed, noise in enumerate((0.0, 0.001, -0.001, 0.002, -0.002)):
            worst = number(ROBUST, robust[defense.spec] + sign * noise, subset="eps=0.05")
            yield cell("gain", "defense", defense.spec, seed, worst)


def said(defenses: tuple[DefenseRequest, ...], cells: list[Finished]) -> dict[str, Decision]:
    arms = compared(defenses, cells, range(5))
    found = {name: row.decisions for name, row in arms.items()}
    assert all(len(decisions) <= 1 for decisions in found.values())
    return {name: decisions[0] for name, decisions in found.items() if decisions}


def gained(decision: Decision) -> float:
    assert decision.estimate is not None
    return round(decision.estimate.value or 0.0, 6)


def test_an_open_mode_is_judged_where_it_gains_least_over_its_own_controls() -> None:
    defenses = with_controls(["joint-cluster"], "quick")
    found = said(defenses, list(gain_cells(defenses, ROBUSTNESS)))
    # over ce +3 (frozen) and +4 (live); over ce_cluster 0 (frozen) and +8 (live)
    least = LeastOfModes(arms=(arm(""), arm("", "live")))
    frozen, live = found[arm("")], found[arm("", "live")]
    assert (frozen.status, frozen.to, gained(frozen)) == ("helps", arm("ce"), 0.03)
    assert frozen.codes == (NotTheIdea(arms=(arm("ce_cluster"),)), least)
    assert (live.status, gained(live), live.codes) == ("helps", 0.04, (TriedEdits(edits="every"),))
    worse = said(defenses, list(gain_cells(defenses, {**ROBUSTNESS, arm("", "live"): 0.57})))
    assert (worse[arm("")].status, gained(worse[arm("")])) == ("hurts", -0.03)


def test_a_named_mode_is_judged_by_its_own_gain() -> None:
    named = with_controls(["joint-cluster:prototypes=frozen", "joint-cluster:prototypes=live"], "quick")
    found = said(named, list(gain_cells(named, {**ROBUSTNESS, arm("", "live"): 0.57})))
    assert (found[arm("")].status, gained(found[arm("")])) == ("helps", 0.03)


def test_a_seed_without_a_number_in_one_mode_says_nothing_about_the_worst() -> None:
    defenses = with_controls(["joint-cluster"], "quick")
    cells = list(gain_cells(defenses, ROBUSTNESS))
    kept = [each for each in cells if (each.row.arm, each.row.seed) != (arm("", "live"), 4)]
    assert FewSeeds(seeds=4, needed=5) in said(defenses, kept)[arm("")].codes
