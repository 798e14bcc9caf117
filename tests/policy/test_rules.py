"""Policies from tables: what is read, what is refused and in which words."""

from __future__ import annotations

import datetime
from typing import get_args

import pytest

from auditor.document.results import Question
from auditor.errors import ConfigError
from auditor.policy import Policy
from auditor.policy.bands import BANDS
from auditor.policy.rules import FLOORS, LIMITS
from tests.policy.samples import TARGET, TODAY

RULE = {"id": "privacy-link-*", "target": TARGET, "reason": "known", "expires": datetime.date(2027, 1, 31)}


def test_shipped_policies() -> None:
    lenient, standard, strict = map(Policy.named, ("lenient", "standard", "strict"))
    assert (lenient.fail_on, lenient.min_confidence) == ("critical", "medium")
    assert (standard.fail_on, standard.min_confidence) == ("high", "low")
    assert (strict.fail_on, strict.min_confidence) == ("low", "low")
    assert {p.inconclusive for p in (lenient, standard, strict)} == {"report"}
    assert standard == Policy() == Policy.from_tables({}, {}, ())
    assert standard.fails_from == {
        "over-confidence": 0.10,
        "damage": 0.05,
        "held-out": 0.10,
        "worst-group": 0.10,
        "defense-cost": 0.01,
        "worst-case-loss": 0.10,
        "harm": 0.01,
    }
    assert lenient.fails_from == strict.fails_from == {}
    assert lenient.limits == standard.limits == strict.limits == {}  # no named limit has a default


def test_layers_default_gate_policy_option() -> None:
    gate = {"fail_on": "medium", "max_gap_pt": 5, "thresholds": {"ranking": {"high": 0.2}}}
    own = {"release": {"inconclusive": "fail", "thresholds": {"ranking": {"critical": 0.3}}}}
    plain = Policy.from_tables(gate, own, ())
    assert (plain.fail_on, plain.limits, plain.inconclusive) == ("medium", {"max_gap_pt": 0.05}, "report")
    release = Policy.from_tables(gate, own, (), name="release")
    assert (release.fail_on, release.inconclusive, release.name) == ("medium", "fail", "release")
    assert release.limits == {"max_gap_pt": 0.05}
    assert (release.thresholds["ranking"].high, release.thresholds["ranking"].critical) == (0.2, 0.3)
    assert release.thresholds["low-fpr"].high == 0.10
    strict = Policy.from_tables(gate, own, (), name="strict")
    assert (strict.fail_on, strict.fails_from, strict.limits) == ("low", {}, {})
    assert Policy.from_tables(gate, own, (), name="strict", fail_on="critical").fail_on == "critical"


NUMBERS = {"fails_from": {"damage": 0.2, "robustness": "medium"}, "max_worst_group_excess_pt": 15}


def test_a_level_holds_for_every_question_that_its_own_layer_or_one_above_does_not_name() -> None:
    """Whoever says `medium` means all of it: numbers and limits from below would soften or harden single questions."""
    standard = Policy().fails_from
    by_gate = Policy.from_tables({"fail_on": "medium"}, {}, ())
    assert (by_gate.fail_on, by_gate.fails_from, by_gate.limits) == ("medium", {}, {})
    both = Policy.from_tables({"fail_on": "medium", **NUMBERS}, {}, ())
    assert both.fails_from == {"damage": 0.2, "robustness": "medium"}
    assert both.limits == {"max_worst_group_excess_pt": 0.15}
    above = Policy.from_tables(NUMBERS, {}, ())  # no level: beside what is shipped
    assert above.fails_from == {**standard, "damage": 0.2, "robustness": "medium"}
    for name, fail_on in (("strict", None), ("lenient", None), ("standard", "high"), ("own", None), ("own", "low")):
        cleared = Policy.from_tables(NUMBERS, {"own": {"fail_on": "critical"}}, (), name=name, fail_on=fail_on)
        assert (cleared.fails_from, cleared.limits) == ({}, {}), (name, fail_on)
    kept = Policy.from_tables(NUMBERS, {"own": {"max_gap_pt": 7}}, (), name="own")
    assert kept.limits == {"max_worst_group_excess_pt": 0.15, "max_gap_pt": 0.07}


def test_points_become_fractions_and_false_switches_off() -> None:
    gate = {"max_overconfidence_pt": 7.5, "min_auroc": 0.6, "max_gap_pt": 20}
    policy = Policy.from_tables(gate, {"own": {"max_gap_pt": False}}, ())
    assert policy.limits == pytest.approx({"max_overconfidence_pt": 0.075, "min_auroc": 0.6, "max_gap_pt": 0.2})
    off = Policy.from_tables(gate, {"own": {"max_gap_pt": False}}, (), name="own")
    assert off.limits == pytest.approx({"max_overconfidence_pt": 0.075, "min_auroc": 0.6})


def test_every_named_limit_is_about_a_question_that_has_bands() -> None:
    assert set(LIMITS.values()) <= set(BANDS)
    assert len(set(LIMITS.values())) == len(LIMITS)  # two limits of one question would be a riddle
    assert set(LIMITS) >= FLOORS
    assert set(BANDS) == set(get_args(Question)) - {"claim", "artifact", "other"}


@pytest.mark.parametrize(
    ("gate", "message"),
    [
        ({"max_gp_pt": 5}, 'no key "max_gp_pt". Did you mean "max_gap_pt"'),
        ({"fail_on": "hihg"}, "fail_on is 'hihg'; expected one of low, medium, high, critical"),
        ({"fail_on": "none"}, "fail_on is 'none'"),
        ({"min_confidence": 2}, "min_confidence is 2"),
        ({"inconclusive": "ignore"}, "inconclusive is 'ignore'"),
        ({"max_gap_pt": "ten"}, "expected percentage points"),
        ({"max_gap_pt": 101}, "0 to 100"),
        ({"max_gap_pt": True}, "false to switch it off"),
        ({"min_auroc": 60}, "a fraction, 0 to 1"),
        ({"thresholds": 3}, "expected a table"),
        ({"thresholds": {"rankin": {"high": 0.2}}}, 'no question "rankin". Did you mean "ranking"'),
        ({"thresholds": {"claim": {"high": 0.2}}}, 'no question "claim"'),
        ({"thresholds": {"ranking": {"hi": 0.2}}}, 'no band "hi"'),
        ({"thresholds": {"ranking": {"high": "0.2"}}}, "expected a fraction"),
        ({"thresholds": {"ranking": {"high": 0.05}}}, "high = 0.05 is not above medium = 0.1"),
        ({"thresholds": {"ranking": {"critical": 1.5}}}, "less than or equal to 1"),
        ({"max_abs_sce_pt": 10}, "max_abs_sce_pt is called max_overconfidence_pt now"),
        ({"fails_from": 3}, "expected a table"),
        ({"fails_from": {"damge": 0.05}}, 'no question "damge". Did you mean "damage"'),
        ({"fails_from": {"artifact": "low"}}, 'no question "artifact"'),
        ({"fails_from": {"damage": "mild"}}, "damage is 'mild'; expected one of low, medium, high, critical, or a"),
        ({"fails_from": {"damage": 5}}, "damage is 5; expected one of"),
        ({"fails_from": {"damage": True}}, "damage is True; expected one of"),
        ({"fails_from": {"damage": [0.05]}}, "damage is [0.05]; expected one of"),
    ],
)
def test_bad_gate_tables_are_refused_in_words(gate, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Policy.from_tables(gate, {}, ())
    assert message in str(caught.value)
    with pytest.raises(ConfigError) as caught:
        Policy.from_tables({}, {"own": gate}, ())  # a policy that nobody asked for is read, too
    assert message in str(caught.value)
    assert "[policy.own" in str(caught.value)


def test_unknown_and_redefined_policy_names() -> None:
    with pytest.raises(ConfigError, match=r'"strct"\. Did you mean "strict"'):
        Policy.from_tables({}, {}, (), name="strct")
    with pytest.raises(ConfigError, match="shipped policy"):
        Policy.from_tables({}, {"strict": {}}, ())
    with pytest.raises(ConfigError, match="no shipped policy"):
        Policy.named("release")
    with pytest.raises(ConfigError, match="fail_on is 'severe'"):
        Policy.from_tables({}, {}, (), fail_on="severe")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"reason": None}, "has no reason"),
        ({"reason": ""}, "has no reason"),
        ({"expires": None}, "has no expires"),
        ({"target": None}, "has no target"),
        ({"id": None}, "has no id"),
        ({"id": "privacy-lnk-inversion"}, 'Did you mean "privacy-link-inversion"'),
        ({"id": "shift-nonsense"}, 'no finding is called "shift-nonsense"'),
        ({"expires": "next year"}, "expected a date"),
        ({"expires": 2027}, "expected a date"),
        ({"expires": TODAY + datetime.timedelta(days=366)}, "366 days from now"),
        ({"until": "2027-01-01"}, 'no key "until"'),
        ({"defense": 3}, "defense"),
    ],
)
def test_bad_suppress_rules_are_refused_in_words(change, message: str) -> None:
    table = {key: value for key, value in {**RULE, **change}.items() if value is not None}
    with pytest.raises(ConfigError) as caught:
        Policy.from_tables({}, {}, [table], as_of=TODAY)
    assert message in str(caught.value)
    assert "[[suppress]] number 1" in str(caught.value)


def test_expiry_may_be_365_days_away_and_text_or_date() -> None:
    last = TODAY + datetime.timedelta(days=365)
    for expires in (last, last.isoformat()):
        policy = Policy.from_tables({}, {}, [{**RULE, "expires": expires}], as_of=TODAY)
        assert policy.suppress[0].expires == last
