"""The policy: what fails, how sure one must be, which limits hold, which findings are suppressed until when."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Final, Literal, get_args

from pydantic import Field, ValidationError

from auditor import registry
from auditor.document.results import Confidence
from auditor.errors import ConfigError, nearest
from auditor.policy.bands import BANDS, CONFIDENCES, LEVELS, Bands, Level
from auditor.records import Model

InconclusiveMode = Literal["report", "incomplete", "fail"]

UnverifiedMode = Literal["report", "incomplete"]
LONGEST_ACCEPTANCE_DAYS: Final = 365
LIMITS: Final[Mapping[str, float | None]] = {
    "max_gap_pt": 0.10,
    "max_worst_group_excess_pt": 0.10,
    "max_abs_sce_pt": 0.10,
    "max_defense_cost_pt": 0.01,
    "max_worst_case_loss_pt": 0.10,
    "max_harm_pt": 0.01,
    "min_auroc": None,
}
"""Named limits with their defaults, as fractions; None: available, off."""

SHIPPED: Final[Mapping[str, Mapping[str, Any]]] = {
    "lenient": {"fail_on": "critical", "min_confidence": "medium"},
    "standard": {"fail_on": "high"},
    "strict": {"fail_on": "low", "unverified": "incomplete"},
}


class Suppress(Model):
    """One `[[suppress]]` rule: accepts findings by id pattern on a target until a date."""

    id: str
    target: str
    defense: str | None = None
    reason: str = Field(min_length=1)
    expires: datetime.date

    def matches(self, finding: str, target: str, defense: str) -> bool:
        """Whether the rule is about this finding, expired or not."""
        return (
            fnmatchcase(finding, self.id)
            and fnmatchcase(target, self.target)
            and (self.defense is None or fnmatchcase(defense, self.defense))
        )


class Policy(Model):
    """What a gate demands. All values are fractions.

    Attributes:
        fail_on: the band whose lower edge is the threshold.
        min_confidence: a fail with less confidence becomes inconclusive.
        inconclusive: what an interval that straddles its threshold does: exit 0 (`report`), 3 (`incomplete`), 1
            (`fail`, the same as gating on the upper bound).
        unverified: what follows where nothing shows that the model is the one that was trained: a line (`report`), or
            no pass (`incomplete`).
        thresholds: bands per scale.
        limits: named limits; None switches one off.
        suppress: rules that accept findings.
    """

    name: str = "standard"
    fail_on: Level = "high"
    min_confidence: Confidence = "low"
    inconclusive: InconclusiveMode = "report"
    unverified: UnverifiedMode = "report"
    thresholds: dict[str, Bands] = Field(default_factory=lambda: dict(BANDS))
    limits: dict[str, float | None] = Field(default_factory=lambda: dict(LIMITS))
    suppress: tuple[Suppress, ...] = ()

    @classmethod
    def named(cls, name: str) -> Policy:
        """A shipped policy: `lenient`, `standard` or `strict`.

        Raises:
            ConfigError: unknown name; the nearest one is offered.
        """
        if name not in SHIPPED:
            raise ConfigError(f'no shipped policy is called "{name}". {nearest(name, SHIPPED)}')
        return cls(name=name, **SHIPPED[name])

    @classmethod
    def from_tables(
        cls,
        gate: Mapping[str, Any],
        policies: Mapping[str, Mapping[str, Any]],
        suppress: Sequence[Mapping[str, Any]],
        *,
        name: str = "standard",
        fail_on: str | None = None,
        as_of: datetime.date | None = None,
    ) -> Policy:
        """The policy of a config file: defaults < `[gate]` < the policy called `name` < `fail_on`.

        `[gate]` is what the file makes of `standard`; any other policy keeps its own keys above it.

        Args:
            gate: the `[gate]` table.
            policies: the `[policy.NAME]` tables; one with a shipped name is refused.
            suppress: the `[[suppress]]` tables.
            name: the policy asked for.
            fail_on: overrides the policy's own.
            as_of: the day from which an expiry may be at most 365 days away; today (UTC) by default.

        Raises:
            ConfigError: unknown policy, key, band or scale; a value of the wrong type; thresholds that do not decrease;
                a suppress rule without reason or expiry, too far away, or about an id that does not exist.
        """
        for own in policies:
            if own in SHIPPED:
                raise ConfigError(f"[policy.{own}]: {own} is a shipped policy and stays as it is. Choose another name.")
        if name not in SHIPPED and name not in policies:
            known = [*SHIPPED, *policies]
            raise ConfigError(f'no policy is called "{name}". {nearest(name, known)}')
        today = as_of or datetime.datetime.now(datetime.UTC).date()
        values: dict[str, Any] = {"thresholds": dict(BANDS), "limits": dict(LIMITS)}
        layers = [_read(gate, "[gate]", BANDS)]
        base = layers[0].get("thresholds", BANDS)
        checked = {own: _read(table, f"[policy.{own}]", base) for own, table in policies.items()}
        if name in policies:
            layers.append(checked[name])
        elif name != "standard":
            # --policy strict means strict: what [gate] says about failing does not soften it.
            layers.append({**SHIPPED[name]})
        for layer in layers:
            for key, value in layer.items():
                values[key] = {**values[key], **value} if key in ("thresholds", "limits") else value
        if fail_on is not None:
            values["fail_on"] = _choice(fail_on, LEVELS, "fail_on")
        rules = tuple(_suppress(table, index, today) for index, table in enumerate(suppress))
        return cls(name=name, suppress=rules, **values)


def _read(table: Mapping[str, Any], where: str, base: Mapping[str, Bands]) -> dict[str, Any]:
    """The keys of `[gate]` as fields of Policy; thresholds change some edges of `base`."""
    choices = {"fail_on": LEVELS, "min_confidence": CONFIDENCES, "inconclusive": get_args(InconclusiveMode)}
    choices["unverified"] = get_args(UnverifiedMode)
    fields: dict[str, Any] = {}
    limits: dict[str, float | None] = {}
    for key, value in table.items():
        if key in choices:
            fields[key] = _choice(value, choices[key], f"{where} {key}")
        elif key == "thresholds":
            fields[key] = _thresholds(value, f"{where[:-1]}.thresholds]", base)
        elif key in LIMITS:
            limits[key] = _limit(key, value, where)
        else:
            known = [*choices, "thresholds", *LIMITS]
            raise ConfigError(f'{where} has no key "{key}". {nearest(str(key), known)}')
    if limits:
        fields["limits"] = limits
    return fields


def _choice(value: object, allowed: Iterable[str], where: str) -> str:
    words = tuple(allowed)
    if value not in words:
        raise ConfigError(f"{where} is {value!r}; expected one of {', '.join(words)}. {nearest(str(value), words)}")
    return str(value)


def _limit(key: str, value: object, where: str) -> float | None:
    """A fraction; percentage points where the name says so. `false` switches the limit off."""
    points = key.endswith("_pt")
    top = 100 if points else 1
    if value is False:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= top:
        unit = "percentage points, 0 to 100" if points else "a fraction, 0 to 1"
        raise ConfigError(f"{where} {key} is {value!r}; expected {unit}, or false to switch it off.")
    return value / 100 if points else float(value)


def _thresholds(table: object, where: str, base: Mapping[str, Bands]) -> dict[str, Bands]:
    if not isinstance(table, Mapping):
        raise ConfigError(f"{where} is {table!r}; expected a table such as auc = {{ high = 0.25 }}.")
    result = dict(base)
    for scale, edges in table.items():
        if scale not in base:
            raise ConfigError(f'{where} has no scale "{scale}". {nearest(str(scale), base)}')
        if not isinstance(edges, Mapping):
            raise ConfigError(f"{where} {scale} is {edges!r}; expected a table such as {{ high = 0.25 }}.")
        for level, edge in edges.items():
            if level not in LEVELS:
                raise ConfigError(f'{where} {scale} has no band "{level}". {nearest(str(level), LEVELS)}')
            if isinstance(edge, bool) or not isinstance(edge, int | float):
                raise ConfigError(f"{where} {scale}.{level} is {edge!r}; expected a fraction from 0 to 1.")
        try:
            result[str(scale)] = Bands(**{**base[scale].model_dump(), **edges})
        except ValidationError as error:
            raise ConfigError(
                f"{where} {scale}: {error.errors()[0]['msg']}; bands are fractions and decrease from critical to low."
            ) from None
    return result


def _suppress(table: Mapping[str, Any], index: int, today: datetime.date) -> Suppress:
    where = f"[[suppress]] number {index + 1}"
    fields = Suppress.model_fields
    for key in table:
        if key not in fields:
            raise ConfigError(f'{where} has no key "{key}". {nearest(str(key), fields)}')
    for key in ("id", "target", "reason", "expires"):
        if table.get(key) in (None, ""):
            raise ConfigError(f'{where} has no {key}; expected id, target, reason and expires, e.g. {key} = "…".')
    expires = read_expiry(table["expires"], today, where)
    try:
        rule = Suppress(**{**table, "expires": expires})
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(f"{where} {'.'.join(map(str, first['loc']))}: {first['msg']}.") from None
    known = registry.findings()
    if not any(fnmatchcase(id_, rule.id) for id_ in known):
        raise ConfigError(f'{where}: no finding is called "{rule.id}". {nearest(rule.id, known)}')
    return rule


def read_expiry(value: object, today: datetime.date, where: str) -> datetime.date:
    """An expiry date, written as a TOML date or as text.

    Raises:
        ConfigError: not a date, or more than 365 days away.
    """
    day = value
    if isinstance(value, datetime.datetime):
        day = value.date()
    elif isinstance(value, str):
        try:
            day = datetime.date.fromisoformat(value)
        except ValueError:
            day = None
    if not isinstance(day, datetime.date):
        raise ConfigError(f"{where} expires is {value!r}; expected a date such as {today.isoformat()}.")
    away = (day - today).days
    if away > LONGEST_ACCEPTANCE_DAYS:
        raise ConfigError(
            f"{where} expires {day.isoformat()}, {away} days from now; at most {LONGEST_ACCEPTANCE_DAYS} are allowed, "
            f"so that somebody looks again. Write a date up to "
            f"{(today + datetime.timedelta(days=LONGEST_ACCEPTANCE_DAYS)).isoformat()}."
        )
    return day
