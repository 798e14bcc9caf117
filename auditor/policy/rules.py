"""The policy: from where each question fails, how sure one must be, which findings are suppressed until when."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, Final, Literal, get_args

from pydantic import Field, ValidationError

from auditor import registry
from auditor.document.results import Confidence, Question
from auditor.errors import ConfigError, expected, nearest
from auditor.policy.bands import BANDS, CONFIDENCES, LEVELS, Bands, Level
from auditor.records import Model

InconclusiveMode = Literal["report", "incomplete", "fail"]

UnverifiedMode = Literal["report", "incomplete"]
LONGEST_ACCEPTANCE_DAYS: Final = 365
_TABLES: Final = ("thresholds", "limits", "fails_from")
LIMITS: Final[Mapping[str, Question]] = {
    "max_gap_pt": "damage",
    "max_heldout_gap_pt": "held-out",
    "max_worst_group_excess_pt": "worst-group",
    "max_overconfidence_pt": "over-confidence",
    "max_defense_cost_pt": "defense-cost",
    "max_worst_case_loss_pt": "worst-case-loss",
    "max_harm_pt": "harm",
    "min_auroc": "silent-failure",
}
"""Named limits and the question that each overrides where it is set; none has a default."""
RENAMED: Final = {"max_abs_sce_pt": "max_overconfidence_pt"}
FLOORS: Final = frozenset({"min_auroc"})
"""Limits that are a floor under the number itself, not a bound of its excess."""

SHIPPED: Final[Mapping[str, Mapping[str, Any]]] = {
    "lenient": {"fail_on": "critical", "min_confidence": "medium"},
    "standard": {
        "fail_on": "high",
        "fails_from": {
            "over-confidence": 0.10,
            "damage": 0.05,
            "held-out": 0.10,
            "worst-group": 0.10,
            "defense-cost": 0.01,
            "worst-case-loss": 0.10,
            "harm": 0.01,
        },
    },
    "strict": {"fail_on": "low", "unverified": "incomplete"},
}
"""From where each policy fails: a level for every question, and numbers for those that have one of their own."""


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
        fail_on: the level whose lower edge is the threshold of a question, unless `fails_from` names it.
        fails_from: questions with a threshold of their own: another level, or an excess as a fraction.
        min_confidence: a fail with less confidence becomes inconclusive.
        inconclusive: what an interval that straddles its threshold does: exit 0 (`report`), 3 (`incomplete`), 1
            (`fail`, the same as gating on the upper bound).
        unverified: what follows where nothing shows that the model is the one that was trained: a line (`report`), or
            no pass (`incomplete`).
        thresholds: bands per question.
        limits: named limits that are set; each overrides the threshold of its question.
        suppress: rules that accept findings.
    """

    name: str = "standard"
    fail_on: Level = "high"
    fails_from: dict[Question, Level | float] = Field(default_factory=lambda: dict(SHIPPED["standard"]["fails_from"]))
    min_confidence: Confidence = "low"
    inconclusive: InconclusiveMode = "report"
    unverified: UnverifiedMode = "report"
    thresholds: dict[Question, Bands] = Field(default_factory=lambda: {**BANDS})
    limits: dict[str, float] = Field(default_factory=dict)
    suppress: tuple[Suppress, ...] = ()

    @classmethod
    def named(cls, name: str) -> Policy:
        """A shipped policy: `lenient`, `standard` or `strict`.

        Raises:
            ConfigError: unknown name; the nearest one is offered.
        """
        if name not in SHIPPED:
            raise ConfigError(f'no shipped policy is called "{name}". {nearest(name, SHIPPED)}')
        return cls(name=name, **{"fails_from": {}, **SHIPPED[name]})

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

        `[gate]` is what the file makes of `standard`; any other policy keeps its own keys above it. A level (`fail_on`)
        holds for every question: what the layers below it say of single ones (`fails_from`, named limits) is gone.

        Args:
            gate: the `[gate]` table.
            policies: the `[policy.NAME]` tables; one with a shipped name is refused.
            suppress: the `[[suppress]]` tables.
            name: the policy asked for.
            fail_on: overrides the policy's own.
            as_of: the day from which an expiry may be at most 365 days away; today (UTC) by default.

        Raises:
            ConfigError: unknown policy, key, band or question; a value of the wrong type; thresholds that do not
                decrease; a suppress rule without reason or expiry, too far away, or about an id that does not exist.
        """
        for own in policies:
            if own in SHIPPED:
                raise ConfigError(f"[policy.{own}]: {own} is a shipped policy and stays as it is. Choose another name.")
        if name not in SHIPPED and name not in policies:
            known = [*SHIPPED, *policies]
            raise ConfigError(f'no policy is called "{name}". {nearest(name, known)}')
        today = as_of or datetime.datetime.now(datetime.UTC).date()
        values: dict[str, Any] = {"thresholds": BANDS, "limits": {}, **SHIPPED["standard"]}
        layers = [_read(gate, "[gate]", BANDS)]
        base = layers[0].get("thresholds", BANDS)
        checked = {own: _read(table, f"[policy.{own}]", base) for own, table in policies.items()}
        if name in policies:
            layers.append(checked[name])
        elif name != "standard":
            # --policy strict means strict: what [gate] says about failing does not soften it.
            layers.append(dict(SHIPPED[name]))
        if fail_on is not None:
            layers.append({"fail_on": _choice(fail_on, LEVELS, "fail_on")})
        for layer in layers:
            if "fail_on" in layer:
                values |= {"fails_from": {}, "limits": {}}
            for key, value in layer.items():
                values[key] = {**values[key], **value} if key in _TABLES else value
        values["limits"] = {key: value for key, value in values["limits"].items() if value is not None}
        rules = tuple(_suppress(table, index, today) for index, table in enumerate(suppress))
        return cls(name=name, suppress=rules, **values)


def _read(table: Mapping[str, Any], where: str, base: Mapping[Question, Bands]) -> dict[str, Any]:
    """The keys of `[gate]` as fields of Policy; thresholds change some edges of `base`."""
    choices = {"fail_on": LEVELS, "min_confidence": CONFIDENCES, "inconclusive": get_args(InconclusiveMode)}
    choices["unverified"] = get_args(UnverifiedMode)
    fields: dict[str, Any] = {}
    limits: dict[str, float | None] = {}  # None switches one off that a layer below has set
    for key, value in table.items():
        if key in choices:
            fields[key] = _choice(value, choices[key], f"{where} {key}")
        elif key == "thresholds":
            fields[key] = _thresholds(value, f"{where[:-1]}.thresholds]", base)
        elif key == "fails_from":
            fields[key] = _fails_from(value, f"{where[:-1]}.fails_from]")
        elif key in LIMITS:
            limits[key] = _limit(key, value, where)
        else:
            if key in RENAMED:
                raise ConfigError(f"{where} {key} is called {RENAMED[key]} now, and bounds over-confidence alone.")
            known = [*choices, "thresholds", "fails_from", *LIMITS]
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


def _fails_from(table: object, where: str) -> dict[Question, Level | float]:
    """A level or a fraction by question."""
    if not isinstance(table, Mapping):
        raise ConfigError(f'{where} is {table!r}; expected a table such as robustness = "medium" or damage = 0.05.')
    for question, value in table.items():
        if question not in BANDS:
            raise ConfigError(f'{where} has no question "{question}". {nearest(str(question), BANDS)}')
        is_share = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
        if not is_share and value not in LEVELS:
            raise ConfigError(
                f"{where} {question} is {value!r}; expected one of {', '.join(LEVELS)}, or a fraction from 0 to 1."
            )
    return {question: value if value in LEVELS else float(value) for question, value in table.items()}


def _thresholds(table: object, where: str, base: Mapping[Question, Bands]) -> dict[Question, Bands]:
    if not isinstance(table, Mapping):
        raise ConfigError(f"{where} is {table!r}; expected a table such as ranking = {{ high = 0.25 }}.")
    result = dict(base)
    for question, edges in table.items():
        if question not in base:
            raise ConfigError(f'{where} has no question "{question}". {nearest(str(question), base)}')
        if not isinstance(edges, Mapping):
            raise ConfigError(f"{where} {question} is {edges!r}; expected a table such as {{ high = 0.25 }}.")
        for level, edge in edges.items():
            if level not in LEVELS:
                raise ConfigError(f'{where} {question} has no band "{level}". {nearest(str(level), LEVELS)}')
            if isinstance(edge, bool) or not isinstance(edge, int | float):
                raise ConfigError(f"{where} {question}.{level} is {edge!r}; expected a fraction from 0 to 1.")
        try:
            result[question] = Bands(**{**base[question].model_dump(), **edges})
        except ValidationError as error:
            said = expected(error.errors()[0])
            raise ConfigError(
                f"{where} {question}: {said}; bands are fractions, the higher level the larger one."
            ) from None
    return result


def _suppress(table: Mapping[str, Any], index: int, today: datetime.date) -> Suppress:
    where = f"[[suppress]] number {index + 1}"
    fields = Suppress.model_fields
    for key in table:
        if key not in fields:
            raise ConfigError(f'{where} has no key "{key}". {nearest(str(key), fields)}')
    for key in ("id", "target", "reason", "expires"):
        if not str(table.get(key, "")).strip():
            raise ConfigError(f'{where} has no {key}; expected id, target, reason and expires, e.g. {key} = "…".')
    expires = read_expiry(table["expires"], today, where)
    try:
        rule = Suppress(**{**table, "expires": expires})
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(f"{where} {'.'.join(map(str, first['loc']))}: {expected(first)}.") from None
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
