"""Pre-registration, power and score files: what is fixed before scores, and what a file may hold."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import special

from auditor.document import Audit, digest_of, from_bytes, to_bytes
from auditor.errors import ConfigError, DataError
from auditor.evaluate.dp_claim.claim import Claim, read_claim
from auditor.evaluate.dp_claim.plan import Plan, check_registered, chosen_tests, make_plan, registered
from auditor.evaluate.dp_claim.power import power_of
from auditor.evaluate.dp_claim.score_file import read_scores
from auditor.evaluate.dp_claim.subject import Observation
from auditor.evaluate.dp_claim.testing import best_threshold, multi_run, one_run
from auditor.runner.asked import Asked
from auditor.runner.claiming import ask_scores
from auditor.statistics import dp
from tests.evaluate.dp_claim.claims import claimed, settings


def claim(text: str = "4", level: str = "edge") -> Claim:
    return read_claim(text, level=level, relation=None, access="scores")


def plan(text: str = "4", **changes: Any) -> Plan:
    values = {"mode": "one-run", "m": 1000, "alpha": 1e-3, "runs": 1, "seed": 0, "score": "s", **changes}
    return make_plan(claim(text), **values)


def test_alpha_is_split_over_tests_sizes_and_repeats() -> None:
    assert plan("4").tests == ("one-run",)
    assert plan("4,1e-5").tests == ("A", "G")
    assert plan("4").share == 1e-3 / 2
    assert plan("4,1e-5").share == 1e-3 / 4
    assert plan("4,1e-5", runs=5).share == 1e-3 / 20
    assert plan("4,1e-5", runs=5).seeds == (0, 1, 2, 3, 4)
    assert plan("4", shares=(1.0,)).sizes == (1000,)
    assert plan("4", shares=(1.0,), alpha=0.2).share_95 == pytest.approx(0.05)
    assert plan("4,1e-5", mode="multi-run", runs=100).share == 1e-3 / 2


@pytest.mark.parametrize(
    "changes",
    [
        {"alpha": 0},
        {"alpha": 1},
        {"alpha": float("nan")},
        {"m": 1},
        {"runs": 0},
        {"runs": 10_001},
        {"mode": "multi-run", "runs": 3},
    ],
)
def test_plans_that_are_none_are_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        plan(**changes)


@pytest.mark.parametrize(("epsilon", "fewest"), [(1, 23), (2, 55), (4, 381), (8, 20_596)])
def test_the_fewest_canaries_that_can_reject_are_the_published_ones(epsilon: int, fewest: int) -> None:
    enough = power_of(plan(str(epsilon), m=fewest, shares=(1.0,)))
    assert enough.possible
    assert enough.enough == fewest
    assert not power_of(plan(str(epsilon), m=fewest - 1, shares=(1.0,))).possible


def test_four_hundred_black_box_canaries_cannot_reach_eight() -> None:
    made = plan("8,1e-3", m=400, alpha=0.05)
    found = power_of(made)
    assert not found.possible
    assert max(row.ceiling for row in found.rows) == found.ceiling < 8
    assert power_of(plan("8,1e-3", m=found.enough, alpha=0.05)).possible


def test_detectable_epsilon_is_detected_that_often() -> None:
    (row,) = power_of(plan("4", m=10_000, shares=(1.0,))).rows
    assert row.detectable is not None
    assert row.needed is not None
    q = special.expit(row.detectable)
    hits = np.random.default_rng(0).binomial(row.guesses, q, 4000) >= row.needed
    assert hits.mean() == pytest.approx(0.8, abs=0.03)


def test_alpha_at_or_below_delta_sees_nothing_and_says_what_would_do() -> None:
    made = plan("1,1e-3", alpha=1e-3)
    found = power_of(made)
    assert not found.possible
    assert found.blind_delta
    assert power_of(plan("1,1e-3", alpha=4.1e-3)).blind_delta is False


def test_power_of_multi_run_is_that_of_its_frontier() -> None:
    made = plan("1", mode="multi-run", runs=100, alpha=0.05)
    (row,) = power_of(made).rows
    assert row.guesses == 100
    assert row.ceiling == dp.multi_run_lower_bound(50, 0, 0, 50, 0.0, 0.05)
    q = special.expit(row.detectable)
    rng = np.random.default_rng(0)
    hits = [
        dp.multi_run_lower_bound(a, 50 - a, 50 - b, b, 0.0, 0.05) > 1
        for a, b in rng.binomial(50, q, (1500, 2)).tolist()
    ]
    assert np.mean(hits) == pytest.approx(0.8, abs=0.04)
    few = plan("6", mode="multi-run", runs=20)
    assert not power_of(few).possible
    assert power_of(few).enough is not None
    assert power_of(plan("6", mode="multi-run", runs=power_of(few).enough)).possible


def test_multi_run_judges_the_half_that_did_not_set_the_threshold() -> None:
    asked: list[tuple[bool, int]] = []

    def score(included: bool, seed: int) -> float:
        asked.append((included, seed))
        return float(included)

    found = multi_run(score, plan("1", mode="multi-run", runs=40, alpha=0.05))
    assert len(asked) == 80
    assert len({seed for _, seed in asked}) == 80
    assert [b.right for b in found.bounds] == [40]
    assert found.bounds[0].rejected

    def noise(included: bool, seed: int) -> float:
        return float(np.random.default_rng(seed).random())

    assert not multi_run(noise, plan("1", mode="multi-run", runs=40, alpha=0.05)).rejecting


def test_threshold_separates_best() -> None:
    assert 2 < best_threshold(np.array([3.0, 4, 5]), np.array([0.0, 1, 2])) < 3
    assert best_threshold(np.array([1.0]), np.array([1.0])) == -np.inf


def written(record: dict[str, Any] | None) -> bytes:
    """A document with a registration; what `record` changes is sealed again, as a clever editor would."""
    question, row = ask_scores(None, Asked("4", level="edge", canaries=1000), None, power_only=True)
    audit = claimed(question, row, settings(), power_only=True)
    document = json.loads(to_bytes(audit))
    if record is not None:
        document["cells"][0]["params"]["preregistration"].update(record)
        document["digest"] = digest_of(Audit.model_validate(document))
    return json.dumps(document).encode()


def test_a_registration_reads_back_and_holds_the_plan() -> None:
    record = registered(from_bytes(written(None)))
    question, _ = ask_scores(None, Asked("4", level="edge", canaries=1000), None, power_only=True)
    assert question.plan is not None
    check_registered(question.plan, record)
    for other in ({"m": 999}, {"alpha": 0.05}, {"seed": 1}, {"shares": (0.5,)}):
        with pytest.raises(ConfigError, match="not pre-registered"):
            check_registered(plan("4", score="scores of your own", **other), record)


@pytest.mark.parametrize("record", [{"guess_sizes": [10]}, {"canaries": 7}, {"digest": "0" * 64}, {"tests": []}])
def test_a_registration_that_was_changed_is_none(record: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="not pre-registered"):
        registered(from_bytes(written(record)))


def save(path: Path, **arrays: Any) -> Path:
    np.savez(path, **arrays)
    return path


def test_scores_and_their_twin_are_read(tmp_path: Path) -> None:
    b = np.array([0, 1, 1])
    run, twin = read_scores(
        save(tmp_path / "s.npz", bits=b, scores=[1, 2, 3], twin_bits=b == 1, twin_scores=[1.5, 2, 3])
    )
    assert run.included.tolist() == [False, True, True]
    assert run.scores.tolist() == [1.0, 2.0, 3.0]
    assert twin is not None
    assert twin.scores.tolist() == [1.5, 2.0, 3.0]


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"scores": [1.0, 2]}, "lacks bits"),
        ({"bits": [0, 1], "scores": [1.0]}, "one bit and one score"),
        ({"bits": [[0, 1]], "scores": [[1.0, 2]]}, "one bit and one score"),
        ({"bits": [1], "scores": [1.0]}, "one bit and one score"),
        ({"bits": [1, 1], "scores": [1.0, 2]}, "every entry of bits is 1"),
        ({"bits": [0, 0], "scores": [1.0, 2]}, "every entry of bits is 0"),
        ({"bits": [0, 2], "scores": [1.0, 2]}, "other than 0 and 1"),
        ({"bits": [0, 1], "scores": [np.nan, 2]}, "not finite"),
        ({"bits": [0, 1], "scores": [np.inf, 2]}, "not finite"),
        ({"bits": ["a", "b"], "scores": [1.0, 2]}, "expected numbers"),
        ({"bits": [0, 1], "scores": [1.0, 2], "twin_bits": [0, 1]}, "or neither"),
        ({"bits": [0, 1], "scores": [1.0, 2], "twin_bits": [0, 1, 1], "twin_scores": [1.0, 2, 3]}, "the twin has 3"),
        ({"bits": np.array([0, None], dtype=object), "scores": [1.0, 2]}, "Python objects"),
    ],
)
def test_bad_score_files_are_an_error(tmp_path: Path, arrays: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        read_scores(save(tmp_path / "s.npz", **arrays))


def test_a_missing_or_broken_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        read_scores(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("bits,scores\n")
    with pytest.raises(DataError, match="cannot be read"):
        read_scores(tmp_path / "text.npz")


def test_a_header_that_asks_for_a_petabyte_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "<f8", "fortran_order": False, "shape": (2**47,)})
    with zipfile.ZipFile(tmp_path / "s.npz", "w") as archive:
        archive.writestr("bits.npy", head.getvalue())
        archive.writestr("scores.npy", head.getvalue())
    with pytest.raises(DataError, match="at most"):
        read_scores(tmp_path / "s.npz")


def test_bounds_are_those_of_the_statistics() -> None:
    rng = np.random.default_rng(0)
    included = rng.random(1000) < 0.5
    scores = rng.standard_normal(1000) + 2 * included
    made = plan("1,1e-5", alpha=0.05)
    found = one_run(Observation(included, scores), made, 0)
    for bound in found.bounds:
        assert bound.lower == dp.lower_bound(bound.test, 1000, bound.guesses, bound.right, 1e-5, made.share)  # type: ignore[arg-type]
        assert bound.rejected == (bound.lower > 1)
    top = np.argsort(scores)
    assert found.bounds[0].right == included[top[900:]].sum() + (~included[top[:100]]).sum()
    assert found.canary_auc == pytest.approx(0.92, abs=0.03)
    assert {b.test for b in found.shown} == {"one-run"}


def test_a_pure_mechanism_is_not_judged_by_a_gaussian_shape() -> None:
    assert chosen_tests(1e-5) == ("A", "G")
    assert chosen_tests(1e-5, pure=True) == ("A",)
