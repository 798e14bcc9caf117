"""What a dossier says beside the sentences about results: what each claim rests on, and what none of them is."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any, Final

from auditor import registry
from auditor.document import Audit, Result, ValidityRow
from reports.sentences import names, target, terms, verdict
from reports.sentences.numbers import (
    MISSING,
    called,
    closed,
    count,
    digits,
    interval_cell,
    listed,
    moment,
    value_cell,
)
from reports.sentences.templates import excess_cell

KEY_SIGNS: Final = 12
"""Signs of a cell's key or a fingerprint that are shown: enough to find it in the document."""
IS_NOT: Final = (
    "It is no legal assessment. Whether nodes, links or attributes are personal data here, who can really get the "
    "access that a claim assumes, and whether a likelihood is insignificant, are questions for its reader.",
    "It shows nothing about attacks that were not run: other attacks may find more.",
    "It is about the one model whose digest stands above, on the data named above. Another training, or a defence, "
    "gives another model: claims about such models stand apart, and no term counts them.",
    "A claim “not found” bounds one attack on these items, at 95 %. It is no guarantee.",
    "A term says what a claim speaks to. No term is met or missed by a claim alone.",
    "MITRE ATLAS describes AML.T0024 through an inference API. Where the access of a claim is the model file, its id "
    "is the closest one that there is.",
    "Its numbers are those of the document whose digest stands above, and of nothing else.",
)
"""What this document is not."""
_WITHOUT_ADVERSARY: Final = ("shift", "defense")
_PARTS: Final = {"train": "for training", "val": "for validation", "test": "for testing"}
ELSEWHERE: Final = "Other models: the target with a defence, or trained anew"
UNCOVERED: Final = "no test of this program speaks to it"
ASKED_NOT: Final = "nothing in this audit is evidence for or against it"


def asked(audit: Audit) -> list[tuple[str, str]]:
    """What was asked and of what, as (label, words); labels repeat where a fact has several lines."""
    row, made = audit.target, audit.target.provenance
    data, split = _mapping(made.get("data")), row.split
    drawn = [f"{digits(split[part])} {word}" for part, word in _PARTS.items() if isinstance(split.get(part), int)]
    facts = [
        ("Target", row.name),
        *(("", text) for text in target.facts(row)),
        ("Target digest", row.digest),
        ("Weights", _file(made)),
        ("Data", ", ".join(filter(None, (str(data.get("name", "")), _digest(data.get("digest")))))),
        ("Split", ", ".join(filter(None, (str(split.get("spec", "")), ", ".join(drawn))))),
        ("Tests", listed(list(dict.fromkeys(cell.probe for cell in audit.cells)))),
        ("Access", _side(audit.config.get("access"))),
        ("Profile", audit.profile),
        ("Seeds", listed([str(seed) for seed in audit.seeds])),
        ("Policy", verdict.policy(audit)),
        ("Started", moment(audit.started)),
        ("Command", shlex.join(("auditor", *audit.argv)) if audit.argv else ""),
        ("Program", " ".join(filter(None, (audit.tool.get("name", ""), audit.tool.get("version", ""))))),
        ("Environment", listed([f"{name} {value}" for name, value in audit.environment.items()])),
        ("Document digest", audit.digest),
    ]
    return [(label, words) for label, words in facts if words]


def evidence(result: Result) -> str:
    """Probe, metric, seeds and cells that a claim rests on."""
    keys = [key[:KEY_SIGNS] for key in dict.fromkeys(result.cells)]
    parts = (
        names.source(result.probe, result.arm),
        names.measured(result),
        names.joined_by(result),
        called("seed", list(dict.fromkeys(each.seed for each in result.by_seed))),
        called("cell", keys),
        f"fingerprint {result.fingerprint[:KEY_SIGNS]}",
    )
    return "; ".join(filter(None, parts))


def measured(result: Result) -> str:
    """The number with its interval and items, its control, and the difference that was judged."""
    own, control = result.own, result.control
    parts = [_number(value_cell(own.value, result.unit), interval_cell(own, result.unit))]
    if own.n:
        parts[0] += f", from {count(own.n, 'item')}"
    if control is not None:
        beside = control.estimate
        written = _number(value_cell(beside.value, result.unit), interval_cell(beside, result.unit))
        parts.append(f"control, {names.control(control.name)}: {written}")
    if result.excess is not None:
        parts.append(f"difference: {_number(*excess_cell(result))}")
    return "; ".join(parts)


def checks(rows: Sequence[ValidityRow]) -> str:
    """`12 of 13 checks passed, 1 warns: relaxation gap`; says so where none bears on it."""
    if not rows:
        return "none bears on it"
    named = {
        status: [names.check(row.id) for row in rows if row.status == status]
        for status in ("fail", "warn", "not_checked")
    }
    told = [f"{names.CHECKS[status]}: {listed(list(dict.fromkeys(ids)))}" for status, ids in named.items() if ids]
    return "; ".join((target.passed(rows), *told))


def held(result: Result) -> str:
    """What the adversary holds, with the techniques that give it; without one, what was read."""
    if result.family in _WITHOUT_ADVERSARY:
        return f"no adversary; read with {names.holders(result.access)}"
    gives = terms.means(result.access)
    return names.holders(result.access) + (f" ({terms.ATLAS}: {gives})" if gives else "")


def speaks_to(result: Result) -> str:
    """Terms of a claim, by list."""
    found: dict[str, list[str]] = {}
    for source, term in terms.terms(result.finding, result.access):
        found.setdefault(source, []).append(term)
    return "; ".join(f"{source}: {', '.join(told)}" for source, told in found.items()) or MISSING


def claims(numbers: Sequence[int]) -> str:
    """`claim 1`, `claims 1, 4 and 6`; what it means that there are none."""
    return called("claim", numbers) if numbers else ASKED_NOT


def uncovered() -> set[tuple[str, str]]:
    """Terms that no finding of any registered probe, defence or verb speaks to."""
    reached = {
        term
        for finding in registry.findings()
        for access in ((), ("posteriors",), ("weights",))
        for term in terms.terms(finding, access)
    }
    return set(terms.every()) - reached


def unasked(audit: Audit) -> list[str]:
    """Tests of this program that a target of this kind could have had, and this audit did not ask for."""
    ran = {cell.probe.partition(":")[0] for cell in audit.cells}
    defense = audit.target.defense.partition(":")[0]
    return [
        closed(f"not run: {probe.id}: {probe.summary}")
        for probe in registry.probes().values()
        if probe.id not in ran
        and audit.target.task.level in probe.tasks
        and (not probe.defenses or defense in probe.defenses)
    ]


def _number(value: str, interval: str) -> str:
    return f"{value} ({interval})" if interval else value


def _file(made: Mapping[str, Any]) -> str:
    return ", ".join(filter(None, (str(made.get("file", "")), _digest(made.get("sha256")))))


def _digest(value: object) -> str:
    return f"SHA-256 {value}" if value else ""


def _side(value: object) -> str:
    """Side knowledge that was set; empty where it was left at its default, the worst case."""
    return ", ".join(f"{name} {words}" for name, words in _mapping(value).items())


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {"name": value} if isinstance(value, str) else {}
