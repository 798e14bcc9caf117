"""Policies from tables: what is read, what is refused and in which words."""

from __future__ import annotations

import datetime

import pytest

from auditor.errors import ConfigError
from auditor.policy import Policy
from tests.policy.samples import TARGET, TODAY

RULE = {"id": "privacy-link-*", "target": TARGET, "reason": "known", "expires": datetime.date(2027, 1, 31)}


def test_shipped_policies() -> None:
    lenient, standard, strict = map(Policy.named, ("lenient", "standard", "strict"))
    assert (lenient.fail_on, lenient.min_confidence) == ("critical", "medium")
    assert (standard.fail_on, standard.min_confidence) == ("high", "low")
    assert (strict.fail_on, strict.min_confidence) == ("low", "low")
    assert {p.inconclusive for p in (lenient, standard, strict)} == {"report"}
    assert standard == Policy() == Policy.from_tables({}, {}, ())
    assert standard.limits == {
        "max_gap_pt": 0.1,
        "max_worst_group_excess_pt": 0.1,
        "max_abs_sce_pt": 0.1,
        "max_defense_cost_pt": 0.01,
        "max_worst_case_loss_pt": 0.1,
        "max_harm_pt": 0.01,
        "min_auroc": None,
    }


def test_layers_default_gate_policy_option() -> None:
    gate = {"fail_on": "medium", "max_gap_pt": 5, "thresholds": {"auc": {"high": 0.2}}}
    own = {"release": {"inconclusive": "fail", "thresholds": {"auc": {"critical": 0.3}}}}
    plain = Policy.from_tables(gate, own, ())
    assert (plain.fail_on, plain.limits["max_gap_pt"], plain.inconclusive) == ("medium", 0.05, "report")
    release = Policy.from_tables(gate, own, (), name="release")
    assert (release.fail_on, release.inconclusive, release.name) == ("medium", "fail", "release")
    assert (release.thresholds["auc"].high, release.thresholds["auc"].critical) == (0.2, 0.3)
    assert release.thresholds["tpr"].high == 0.10
    strict = Policy.from_tables(gate, own, (), name="strict")
    assert (strict.fail_on, strict.limits["max_gap_pt"]) == ("low", 0.05)
    assert Policy.from_tables(gate, own, (), name="strict", fail_on="critical").fail_on == "critical"


def test_points_become_fractions_and_false_switches_off() -> None:
    policy = Policy.from_tables({"max_abs_sce_pt": 7.5, "min_auroc": 0.6, "max_gap_pt": False}, {}, ())
    assert policy.limits["max_abs_sce_pt"] == pytest.approx(0.075)
    assert (policy.limits["min_auroc"], policy.limits["max_gap_pt"]) == (0.6, None)


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
        ({"thresholds": {"acu": {"high": 0.2}}}, 'no scale "acu". Did you mean "auc"'),
        ({"thresholds": {"claim": {"high": 0.2}}}, 'no scale "claim"'),
        ({"thresholds": {"auc": {"hi": 0.2}}}, 'no band "hi"'),
        ({"thresholds": {"auc": {"high": "0.2"}}}, "expected a fraction"),
        ({"thresholds": {"auc": {"high": 0.05}}}, "high = 0.05 is not above medium = 0.1"),
        ({"thresholds": {"auc": {"critical": 1.5}}}, "less than or equal to 1"),
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
