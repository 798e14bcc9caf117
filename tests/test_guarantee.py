"""Guarantee: never a bare epsilon, caveats that add themselves."""

from __future__ import annotations

import json
from typing import Any

import pytest

from auditor.errors import LoadError
from auditor.guarantee import (
    MAX_BYTES,
    RECORDED,
    STANDING,
    WEAK_WORDS,
    Guarantee,
    epsilon_words,
    read_guarantee,
    to_json,
)


def guarantee(**changes: Any) -> Guarantee:
    fields = {
        "level": "edge",
        "relation": "flip-pair",
        "epsilon": 4.0,
        "delta": 0.0,
        "accountant": "pure",
        "mechanism": {"name": "EdgeRand", "flip_probability": 0.018},
        "units": 5278,
        "covers": ("training", "inference"),
        "not_protected": ("features", "labels"),
        "noise_seed": "secret",
    }
    return Guarantee.model_validate({**fields, **changes})


def test_the_headline_names_level_relation_scope_and_gaps() -> None:
    assert guarantee().headline() == (
        "edge level (flip one pair) · ε = 4.00, δ = 0 · EdgeRand · covers training, inference · "
        "does NOT protect features, labels"
    )
    nothing = guarantee(level="graph", relation="replace", epsilon=162411.6, delta=1e-5, covers=())
    assert "no meaningful guarantee" in nothing.headline()
    assert "covers nothing" in nothing.headline()


@pytest.mark.parametrize(
    ("epsilon", "weak", "meaningful"),
    [(10.0, False, True), (10.1, True, True), (50.0, True, True), (50.1, True, False)],
)
def test_weak_and_meaningless_epsilons_are_called_so(epsilon: float, weak: bool, meaningful: bool) -> None:
    made = guarantee(epsilon=epsilon)
    assert (WEAK_WORDS in made.caveats) == weak
    assert made.meaningful == meaningful
    assert ("no meaningful guarantee" in made.headline()) == (not meaningful)


def test_standing_caveats_are_always_there_once_and_a_recorded_seed_is_said() -> None:
    made = guarantee(caveats=("sampler-coupling", STANDING[0]))
    assert made.caveats.count(STANDING[0]) == 1
    assert set(STANDING) <= set(made.caveats)
    assert made.own_caveats == ("sampler-coupling",)
    assert RECORDED not in made.caveats
    assert RECORDED in guarantee(noise_seed="recorded").caveats


def test_json_round_trip_changes_nothing() -> None:
    made = guarantee(caveats=("sampler-coupling",), epsilon=12.5)
    assert read_guarantee(to_json(made)) == made
    assert to_json(read_guarantee(to_json(made))) == to_json(made)


@pytest.mark.parametrize(
    "changes",
    [{"epsilon": -1}, {"epsilon": "lots"}, {"delta": 1.0}, {"level": "user"}, {"covers": ["everything"]}, {"extra": 1}],
)
def test_a_file_that_is_no_guarantee_is_refused(changes: dict[str, Any]) -> None:
    document = {**json.loads(to_json(guarantee())), **changes}
    with pytest.raises(LoadError, match=r"guarantee\.json: \w+"):
        read_guarantee(json.dumps(document).encode())


def test_hostile_bytes_are_a_clear_error() -> None:
    for raw in (b"", b"{", b"[" * 5000, b"\xff\xfe", b'{"epsilon": NaN}', b" " * (MAX_BYTES + 1)):
        with pytest.raises(LoadError, match="Fit the defence again"):
            read_guarantee(raw)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "0.00"),
        (0.004, "0.0040"),
        (0.00412, "0.0042"),
        (4.0, "4.00"),
        (4.004, "4.01"),
        (7.997, "8.00"),
        (162411.6, "1.62e+05"),
    ],
)
def test_epsilon_is_never_shown_smaller_than_it_is(value: float, shown: str) -> None:
    assert epsilon_words(value) == shown
