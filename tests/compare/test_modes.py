"""A defence served in several ways: modes come along, share one fit, and words are those of the least gain."""

from __future__ import annotations

import pytest

from auditor.audit import CellRow, Control, Interval, Measurement
from auditor.compare.arms import DefenseRequest, with_controls
from auditor.compare.matrix import build_matrix
from auditor.compare.run import run_compare
from auditor.policy import Policy
from auditor.runner.document import RunSettings
from auditor.runner.plan import choose_probes
from defenses.joint_cluster import method
from tests.runner.test_execute import Silent
from tests.toys import toy_target


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
    audit = run_compare(target, defenses, choose_probes(only="strata"), settings, observer=Silent())
    assert {cell.status for cell in audit.cells} == {"ok"}
    assert sorted(fits) == [0] * 4 + [1] * 4  # joint, ce, ce_cluster, joint_random


def gain_cell(defense: str, seed: int, robust: float) -> CellRow:
    row = Measurement(
        name="robust_accuracy",
        subset="eps=0.05",
        finding="defense-gain",
        value=robust,
        ci=Interval(lo=robust - 0.01, hi=robust + 0.01),
        control=Control(name="x", value=0.0),
        advantage=None,
        n=100,
        direction="lower_is_worse",
        scale="accuracy",
    )
    return CellRow(
        key=f"{defense}{seed}", probe="gain", family="defense", defense=defense, seed=seed, status="ok",
        measurements=(row,),
    )  # fmt: skip


def words(defenses: tuple[DefenseRequest, ...], robust: dict[str, float]) -> dict[str, str]:
    noise = (0.0, 0.001, -0.001, 0.002, -0.002)
    rows = []
    for defense in defenses:
        sign = 1 if defense.control_of else -1  # so that differences vary over seeds
        rows += [gain_cell(defense.spec, s, robust[defense.spec] + sign * noise[s]) for s in range(5)]
    matrix = build_matrix(defenses, rows, {}, {}, {}, range(5))
    return {row.defense: " ".join(row.words) for row in matrix}


ROBUST = {
    "none": 0.5, arm(""): 0.63, arm("", "live"): 0.64, arm("ce"): 0.60, arm("ce_cluster"): 0.63,
    arm("joint_random"): 0.60, arm("ce_cluster", "live"): 0.56, arm("joint_random", "live"): 0.60,
}  # fmt: skip


def test_words_of_an_open_mode_are_those_of_the_mode_with_the_least_gain_over_its_own_controls() -> None:
    defenses = with_controls(["joint-cluster"], "quick")
    said = words(defenses, ROBUST)
    # over ce +3 (frozen) and +4 (live); over ce_cluster 0 (frozen) and +8 (live)
    assert "gain supported: +3.0 points over joint-cluster:arm=ce" in said[arm("")]
    assert "nothing proven is gained over joint-cluster:arm=ce_cluster" in said[arm("")]
    assert "as joint-cluster or joint-cluster:prototypes=live, where it gains least" in said[arm("")]
    assert "gain supported: +4.0 points" in said[arm("", "live")]
    assert "nothing proven" not in said[arm("", "live")]
    worse = words(defenses, {**ROBUST, arm("", "live"): 0.57})
    assert "harmful here: -3.0 points" in worse[arm("")]


def test_words_of_a_named_mode_are_its_own() -> None:
    named = with_controls(["joint-cluster:prototypes=frozen", "joint-cluster:prototypes=live"], "quick")
    assert "gain supported: +3.0" in words(named, {**ROBUST, arm("", "live"): 0.57})[arm("")]


def test_a_seed_without_a_number_in_one_mode_says_nothing_about_the_worst() -> None:
    defenses = with_controls(["joint-cluster"], "quick")
    rows = [gain_cell(d.spec, s, ROBUST[d.spec]) for d in defenses for s in range(5)]
    kept = [row for row in rows if not (row.defense == arm("", "live") and row.seed == 4)]
    matrix = {row.defense: row for row in build_matrix(defenses, kept, {}, {}, {}, range(5))}
    assert "underpowered: 4 seeds" in " ".join(matrix[arm("")].words)
