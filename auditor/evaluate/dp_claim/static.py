"""Epsilon recomputed from what a mechanism says of itself; no data, no training."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from auditor.document.facts import Accounted
from auditor.errors import ConfigError, nearest
from auditor.guarantee import Guarantee, Level
from auditor.statistics.accounting import check_delta, epsilon_of_mu, multi_term_epsilon, subsampled_gaussian

TOLERANCE: Final = 0.01
"""A claim this much below the recomputed epsilon is wrong; anything less is the accountants' own error."""
DISAGREEMENT: Final = 0.02
"""A wider gap between two accountants means that neither can be believed."""
MAX_STEPS, MAX_TERMS = 10**7, 20_000  # above it the accountants take minutes, or gigabytes
KEYS: Final = ("q", "sigma", "steps", "units", "K", "r")


@dataclass(frozen=True, slots=True)
class Account:
    """A recomputed epsilon.

    Attributes:
        epsilon: at `delta`; infinite when it cannot be bounded.
        delta: what it holds at.
        accountant: which one gave it.
        parameters: what it was computed from, named as in a Guarantee's mechanism.
        prv, pld: the two accountants where both ran.
        disagreement: their relative gap.
        ordinary: what the accountant of records that share nothing says, where one unit lies in many records.
    """

    epsilon: float
    delta: float
    accountant: str
    parameters: Mapping[str, float] = field(default_factory=dict)
    prv: float | None = None
    pld: float | None = None
    disagreement: float | None = None
    ordinary: float | None = None

    def record(self) -> Accounted:
        """For the document."""
        return Accounted(
            epsilon=self.epsilon,
            delta=self.delta,
            accountant=self.accountant,
            parameters=dict(self.parameters),
            prv=self.prv,
            pld=self.pld,
            ordinary=self.ordinary,
        )

    def refutes(self, epsilon: float) -> bool:
        """Whether a claim of `epsilon` is more than 1 % below."""
        return epsilon < self.epsilon * (1 - TOLERANCE)


def account_of(guarantee: Guarantee, delta: float) -> Account | None:
    """The account of a Guarantee's mechanism at another delta; None when the record does not determine it.

    Raises:
        ConfigError: a value out of range, or delta = 0 for a mechanism that has Gaussian noise.
    """
    record = guarantee.mechanism
    if guarantee.accountant == "pure":
        return _pure(record, delta)
    if guarantee.accountant == "gaussian-exact":
        values = _take(record, "sensitivity", "sigma", "releases")
        return None if values is None else _gaussian(values, delta)
    if guarantee.accountant == "prv+pld":
        values = _take(record, "q", "sigma", "steps")
        return None if values is None else _sampled(values, delta)
    values = _take(record, "N", "b", "M", "nm", "steps")
    return None if values is None else _multi_term(values, delta)


def _pure(record: Mapping[str, Any], delta: float) -> Account | None:
    name = record.get("name")
    if name == "no edges":
        return Account(0.0, delta, "pure")
    if (flips := _take(record, "flip_probability")) is not None:
        (p,) = flips
        if not 0 <= p <= 0.5:
            raise ConfigError(f"flip_probability = {p:g}; expected a number from 0 to .5.")
        return Account(math.log((1 - p) / p) if p else math.inf, delta, "pure", {"flip_probability": p})
    if (spent := _take(record, "epsilon_count", "epsilon_cells")) is not None:
        count, cells = spent
        if min(count, cells) < 0:
            raise ConfigError(f"epsilon_count = {count:g}, epsilon_cells = {cells:g}; expected numbers from 0.")
        return Account(count + cells, delta, "pure", {"epsilon_count": count, "epsilon_cells": cells})
    return None


def _gaussian(values: tuple[float, ...], delta: float) -> Account:
    sensitivity, sigma, releases = values
    _gaussian_delta(delta)
    if not (sensitivity >= 0 and sigma >= 0 and releases >= 1):
        raise ConfigError(
            f"sensitivity = {sensitivity:g}, sigma = {sigma:g}, releases = {releases:g}; expected numbers from 0, and "
            "at least one release."
        )
    epsilon = math.inf if sigma == 0 else epsilon_of_mu(math.sqrt(releases) * sensitivity / sigma, delta)
    own = {"sensitivity": sensitivity, "sigma": sigma, "releases": releases}
    return Account(epsilon, delta, "gaussian-exact", own)


def _sampled(values: tuple[float, ...], delta: float) -> Account:
    q, sigma, steps = values
    _gaussian_delta(delta)
    _check_steps(steps)
    if not 0 < q <= 1:
        raise ConfigError(f"q = {q:g} must be above 0 and at most 1.")
    own = {"q": q, "sigma": sigma, "steps": steps}
    if sigma == 0:
        return Account(math.inf, delta, "prv+pld", own)
    found = subsampled_gaussian(q, sigma, int(steps), delta)
    return Account(found.epsilon, delta, found.accountant, own, found.prv, found.pld, found.disagreement)


def _multi_term(values: tuple[float, ...], delta: float) -> Account:
    population, drawn, terms, noise, steps = values
    _gaussian_delta(delta)
    _check_steps(steps)
    if min(drawn, terms) > MAX_TERMS:
        raise ConfigError(f"{drawn:g} roots a step, {terms:g} terms; one of the two must be at most {MAX_TERMS}.")
    epsilon = multi_term_epsilon(int(population), int(drawn), int(terms), noise, int(steps), delta)
    own = {"N": population, "b": drawn, "M": terms, "nm": noise, "steps": steps}
    return Account(epsilon if math.isfinite(epsilon) else math.inf, delta, "multi-term-rdp", own)


def _gaussian_delta(delta: float) -> None:
    if delta == 0:
        raise ConfigError(
            "the claim has no delta, and the mechanism adds Gaussian noise, which is never (epsilon, 0)-DP. "
            "Give both: --claim EPSILON,DELTA."
        )


def _check_steps(steps: float) -> None:
    if not (1 <= steps <= MAX_STEPS and steps == int(steps)):
        raise ConfigError(f"steps = {steps:g}; expected a whole number from 1 to {MAX_STEPS}.")


def _take(record: Mapping[str, Any], *keys: str) -> tuple[float, ...] | None:
    """The finite numbers under these keys; None when one is missing or no number."""
    values = [record.get(key) for key in keys]
    if any(isinstance(v, bool) or not isinstance(v, int | float) or not math.isfinite(v) for v in values):
        return None
    return tuple(float(v) for v in values)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Parameters:
    """What `--static q=…,sigma=…,steps=…[,units=…][,K=…,r=…]` states of a DP-SGD run."""

    q: float
    sigma: float
    steps: float
    units: int | None = None
    K: int | None = None
    r: int | None = None

    def account(self, level: Level, delta: float) -> Account:
        """Epsilon of these parameters at that level.

        A node or an edge lies in many records of one graph: there the ordinary accountant, made for one record, is
        wrong, and the multi-term bound is given, with M = Σ K^i, or M = units where no degree bound was stated.

        Raises:
            ConfigError: a value out of range, no delta, delta >= 1/units, or no units at node or edge level.
        """
        if delta > 0 and self.units is not None:
            check_delta(delta, self.units)
        if level == "graph":
            return _sampled((self.q, self.sigma, self.steps), delta)
        if self.units is None:
            raise ConfigError(
                f"--static has no units; a {level} level claim needs the number of records (training nodes) that were "
                "sampled from: add units=N, and K=…,r=… where the degree was bounded."
            )
        if not 0 < self.q <= 1:
            raise ConfigError(f"q = {self.q:g} must be above 0 and at most 1.")
        terms = self.units if self.K is None else sum(self.K**hop for hop in range((self.r or 0) + 1))
        terms = min(terms, self.units)
        if terms == 1:  # no record shares anything: a model without edges
            return _sampled((self.q, self.sigma, self.steps), delta)
        drawn = min(self.units, max(1, round(self.q * self.units)))
        if self.sigma == 0:
            return Account(math.inf, delta, "multi-term-rdp", {"sigma": self.sigma})
        found = _multi_term((self.units, drawn, terms, self.sigma / (2 * terms), self.steps), delta)
        bound = {} if self.K is None or self.r is None else {"K": self.K, "r": self.r}
        ordinary = _sampled((self.q, self.sigma, self.steps), delta).epsilon
        return replace(found, parameters={**found.parameters, **bound}, ordinary=ordinary)


def read_parameters(text: str) -> Parameters:
    """`q=0.07,sigma=1,steps=700` as parameters.

    Raises:
        ConfigError: an unknown or missing key, or a value that is no number in its range.
    """
    values: dict[str, float] = {}
    for piece in filter(None, (part.strip() for part in text.split(","))):
        key, sign, value = (part.strip() for part in piece.partition("="))
        if key in values:
            raise ConfigError(f"--static gives {key} twice. Leave one out.")
        if key not in KEYS or not sign:
            raise ConfigError(
                f'--static: "{piece}" is not one key=value; expected q, sigma and steps, and where known units, K, r. '
                f"{nearest(key, KEYS)}"
            )
        try:
            values[key] = float(value)
        except ValueError:
            raise ConfigError(f'--static: {key}="{value}" is no number; expected {key}=NUMBER.') from None
        if not math.isfinite(values[key]) or values[key] < 0:
            raise ConfigError(f"--static: {key} = {value}; expected a finite number from 0.")
    missing = [key for key in ("q", "sigma", "steps") if key not in values]
    if missing:
        raise ConfigError(f"--static lacks {', '.join(missing)}; expected q=…,sigma=…,steps=….")
    if ("K" in values) != ("r" in values):
        raise ConfigError("--static has one of K and r; a degree bound is both: K neighbours a hop, r hops.")
    units, terms, hops = (_whole(values, key, least) for key, least in (("units", 1), ("K", 1), ("r", 0)))
    if terms is not None and hops is not None and (hops > 20 or terms**hops > MAX_TERMS**2):
        raise ConfigError(f"--static: K = {terms}, r = {hops} is no bound: {terms}^{hops} records.")
    return Parameters(values["q"], values["sigma"], values["steps"], units, terms, hops)


def _whole(values: Mapping[str, float], key: str, least: int) -> int | None:
    if key not in values:
        return None
    value = values[key]
    if value != int(value) or not least <= value <= 1e12:
        raise ConfigError(f"--static: {key} = {value:g}; expected a whole number from {least}.")
    return int(value)
