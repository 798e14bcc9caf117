"""Epsilon recomputed from parameters and records: no data, no training."""

from __future__ import annotations

import math
from typing import Any

import pytest

from auditor.errors import ConfigError
from auditor.evaluate.dp_claim.claim import read_claim
from auditor.evaluate.dp_claim.static import account_of, read_parameters
from auditor.guarantee import Guarantee
from auditor.statistics.accounting import multi_term_epsilon, subsampled_gaussian

N = 1624


def guarantee(accountant: str, mechanism: dict[str, Any], delta: float = 1e-5, epsilon: float = 1.0) -> Guarantee:
    return Guarantee(
        level="edge" if accountant == "pure" else "graph",
        relation="flip-pair" if accountant == "pure" else "add-remove",
        epsilon=epsilon,
        delta=delta,
        accountant=accountant,  # type: ignore[arg-type]
        mechanism=mechanism,
        units=100,
        covers=("training",),
        not_protected=(),
        noise_seed="secret",
    )


@pytest.mark.parametrize(
    ("accountant", "mechanism", "delta", "epsilon"),
    [
        ("pure", {"name": "EdgeRand", "flip_probability": 1 / (1 + math.exp(4))}, 0.0, 4.0),
        ("pure", {"name": "LapGraph", "epsilon_count": 0.04, "epsilon_cells": 3.96}, 0.0, 4.0),
        ("pure", {"name": "no edges"}, 0.0, 0.0),
        ("gaussian-exact", {"name": "GAP", "sensitivity": math.sqrt(2), "sigma": 7.461, "releases": 2}, 1e-5, 1.0),
        ("gaussian-exact", {"name": "batch", "sensitivity": 2.0, "sigma": 0.05, "releases": 200}, 1e-5, 162411.6),
        ("prv+pld", {"name": "DP-SGD", "q": 0.0719, "sigma": 1.0, "steps": 700, "C": 1.0}, 1e-3, 10.20),
        ("multi-term-rdp", {"name": "x", "N": N, "b": 128, "M": 5, "nm": 2.0, "steps": 200}, 0.1 / N, 4.65),
    ],
)
def test_every_accountant_gives_the_published_epsilon(
    accountant: str, mechanism: dict[str, Any], delta: float, epsilon: float
) -> None:
    found = account_of(guarantee(accountant, mechanism, delta), delta)
    assert found is not None
    assert found.epsilon == pytest.approx(epsilon, rel=2e-3, abs=1e-12)


@pytest.mark.parametrize(
    ("accountant", "mechanism"),
    [
        ("multi-term-rdp", {"name": "a + b", "parts": []}),
        ("pure", {"name": "of another kind"}),
        ("prv+pld", {"name": "DP-SGD", "q": 0.1, "sigma": "much", "steps": 10}),
        ("prv+pld", {"name": "DP-SGD", "q": 0.1, "sigma": True, "steps": 10}),
        ("gaussian-exact", {"name": "GAP", "sigma": 1.0, "releases": 1}),
    ],
)
def test_a_record_that_does_not_say_enough_gives_nothing(accountant: str, mechanism: dict[str, Any]) -> None:
    assert account_of(guarantee(accountant, mechanism), 1e-5) is None


@pytest.mark.parametrize(
    ("accountant", "mechanism"),
    [
        ("pure", {"flip_probability": 0.7}),
        ("pure", {"epsilon_count": -1.0, "epsilon_cells": 3.0}),
        ("gaussian-exact", {"sensitivity": -1.0, "sigma": 1.0, "releases": 1}),
        ("prv+pld", {"q": 1.5, "sigma": 1.0, "steps": 10}),
        ("prv+pld", {"q": 0.1, "sigma": 1.0, "steps": 10**9}),
        ("prv+pld", {"q": 0.1, "sigma": 1.0, "steps": 2.5}),
        ("multi-term-rdp", {"N": 10**9, "b": 10**8, "M": 10**8, "nm": 1.0, "steps": 1}),
    ],
)
def test_a_hostile_record_is_refused_before_it_costs_anything(accountant: str, mechanism: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        account_of(guarantee(accountant, mechanism), 1e-5)


def test_a_gaussian_record_has_no_pure_epsilon() -> None:
    with pytest.raises(ConfigError, match="no delta"):
        account_of(guarantee("prv+pld", {"q": 0.1, "sigma": 1.0, "steps": 10}), 0.0)


def test_no_noise_refutes_every_claim() -> None:
    found = account_of(guarantee("gaussian-exact", {"sensitivity": 1.0, "sigma": 0.0, "releases": 1}), 1e-5)
    assert found is not None
    assert found.refutes(1e9)


def test_a_claim_within_the_accountants_own_error_stands() -> None:
    found = account_of(guarantee("pure", {"flip_probability": 1 / (1 + math.exp(4))}, 0.0), 0.0)
    assert found is not None
    assert not found.refutes(3.97)
    assert found.refutes(3.95)


def test_graph_level_parameters_are_those_of_the_two_accountants() -> None:
    found = read_parameters("q=.0719, sigma=1, steps=700").account("graph", 1e-3)
    account = subsampled_gaussian(0.0719, 1.0, 700, 1e-3)
    assert (found.epsilon, found.prv, found.pld) == (account.epsilon, account.prv, account.pld)
    assert found.disagreement == account.disagreement


@pytest.mark.parametrize(("sigma", "epsilon"), [(1, 400), (2, 118), (4, 38.5)])
def test_node_level_from_plain_dp_sgd_gets_the_multi_term_figure(sigma: float, epsilon: float) -> None:
    stated = read_parameters(f"q={128 / N},sigma={sigma},steps=200,units={N},K=4,r=1")
    found = stated.account("node", 0.1 / N)
    assert found.accountant == "multi-term-rdp"
    assert found.epsilon == pytest.approx(epsilon, rel=5e-3)
    assert found.epsilon == multi_term_epsilon(N, 128, 5, sigma / 10, 200, 0.1 / N)


def test_without_a_degree_bound_every_record_may_hold_the_node() -> None:
    found = read_parameters(f"q={128 / N},sigma=4,steps=200,units={N}").account("node", 0.1 / N)
    assert found.epsilon == multi_term_epsilon(N, 128, N, 4 / (2 * N), 200, 0.1 / N) > 1e5
    assert (found.parameters["M"], "K" in found.parameters) == (N, False)
    assert found.ordinary == subsampled_gaussian(128 / N, 4.0, 200, 0.1 / N).epsilon


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("q=.1,sigma=1", "lacks steps"),
        ("q=.1,sigma=1,steps=x", "is no number"),
        ("q=.1,sigma=1,steps=10,sgima=1", "Did you mean"),
        ("q=.1,sigma=1,steps=10,q=.2", "gives q twice"),
        ("q=.1,sigma=-1,steps=10", "finite number from 0"),
        ("q=.1,sigma=nan,steps=10", "finite number from 0"),
        ("q=.1,sigma=1,steps=10,K=4", "both"),
        ("q=.1,sigma=1,steps=10,units=0", "whole number"),
        ("q=.1,sigma=1,steps=10,units=10,K=99,r=19", "no bound"),
        ("", "lacks"),
    ],
)
def test_bad_parameters_are_named(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        read_parameters(text)


@pytest.mark.parametrize(
    ("text", "level", "delta", "words"),
    [
        ("q=.1,sigma=1,steps=10", "graph", 0.0, "no delta"),
        ("q=.1,sigma=1,steps=10,units=100", "graph", 0.02, "below 1/100"),
        ("q=.1,sigma=1,steps=10", "node", 1e-5, "no units"),
        ("q=2,sigma=1,steps=10,units=100", "edge", 1e-5, "at most 1"),
        ("q=2,sigma=1,steps=10", "graph", 1e-5, "at most 1"),
        ("q=.1,sigma=1,steps=1e9", "graph", 1e-5, "steps"),
    ],
)
def test_parameters_that_cannot_be_accounted_are_an_error(text: str, level: Any, delta: float, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        read_parameters(text).account(level, delta)


def test_claims_are_read_with_level_and_relation() -> None:
    claim = read_claim("8,1e-3", level="graph", relation=None, access="posteriors")
    assert (claim.epsilon, claim.delta, claim.relation) == (8.0, 1e-3, "add-remove")
    assert (claim.level, claim.access) == ("graph", "posteriors")


@pytest.mark.parametrize(
    ("text", "level", "relation", "access"),
    [
        ("0", "edge", None, "released"),
        ("-1", "edge", None, "released"),
        ("nan", "edge", None, "released"),
        ("inf", "edge", None, "released"),
        ("1,1", "edge", None, "released"),
        ("1,-1e-5", "edge", None, "released"),
        ("1,2,3", "edge", None, "released"),
        ("", "edge", None, "released"),
        ("four", "edge", None, "released"),
        ("4", None, None, "released"),
        ("4", "user", None, "released"),
        ("4", "edge", "add-remove", "released"),
        ("4", "edge", None, "weights"),
    ],
)
def test_bad_claims_are_an_error(text: str, level: str | None, relation: str | None, access: str) -> None:
    with pytest.raises(ConfigError):
        read_claim(text, level=level, relation=relation, access=access)


def test_a_bound_of_no_hops_is_a_model_without_edges_and_gets_the_ordinary_account() -> None:
    stated = read_parameters("q=0.0788,sigma=2,steps=200,units=1624,K=4,r=0")
    assert stated.account("node", 1e-5).epsilon == pytest.approx(2.59, abs=0.02)


def test_no_noise_does_not_hide_an_impossible_rate() -> None:
    with pytest.raises(ConfigError, match="q = 5"):
        read_parameters("q=5,sigma=0,steps=10").account("graph", 1e-5)
