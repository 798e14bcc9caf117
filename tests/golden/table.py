"""Neutral tables: rows of numbers and decision words, whatever the shape of the document they were read from.

A table is a dict: key (words joined by " | ") -> row; a row is a dict of numbers, words and short lists. An interval is
[value, lo, hi]. To read another document, write another `read_…` that gives the same rows.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Document = Mapping[str, Any]
Row = dict[str, Any]
Table = dict[str, Row]

FAMILIES = {"adversarial": "robustness"}
PROBES = {"prototype-shift": "prototype-edit"}
"""Names that the tables do not keep: old -> new."""


class Rows:
    """Collects the rows of a table: no key twice, nothing that is None."""

    def __init__(self) -> None:
        self.table: Table = {}

    def add(self, *key: object, **row: object) -> None:
        """One row. A key that is there already gets a number, in order."""
        name, count = " | ".join(map(str, key)), 1
        while (own := name if count == 1 else f"{name} #{count}") in self.table:
            count += 1
        self.table[own] = {field: value for field, value in row.items() if value is not None}


def read_1_0(document: Document) -> Table:
    """The table of an `audit.json` with schema 1.0."""
    rows, target = Rows(), document["target"]
    clean = target["clean"]
    rows.add("target", nodes=target["nodes"], edges=target["edges"], graphs=target["graphs"], classes=target["classes"])
    if clean:
        accuracy = [clean["accuracy"], *clean["ci"]]
        rows.add("target", "accuracy", value=accuracy, n=clean["n"], constant=clean["constant_predictor"])
    rows.add("target", "checks", **_checks(document["validity"]))
    for cell in document["cells"]:
        _cell(rows, cell)
    promised = {(c["defense"], c["seed"], *_promise(c["guarantee"])) for c in document["cells"] if c["guarantee"]}
    for defense, seed, *promise in sorted(promised):
        rows.add("guarantee", defense, seed, promise=promise)
    for finding in document["findings"]:
        _finding(rows, finding)
    for row in (document["matrix"] or {"rows": ()})["rows"]:
        _matrix_row(rows, row)
    verdict, coverage = document["verdict"], document["coverage"]
    rows.add("verdict", **{name: verdict[name] for name in ("status", "exit_code", "fail_on", "policy")})
    rows.add("verdict", "counts", **verdict["counts"])
    rows.add("coverage", **{name: count for name, count in coverage.items() if name != "missing"})
    return rows.table


def read_diff(diff: Document) -> Table:
    """The table of what `auditor.diff` finds between two audits, as a plain dict."""
    rows = Rows()
    for row in diff["rows"]:
        rows.add(
            *(row["defense"], _probe(row["probe"]), row["id"], row["measurement"], row["subset"]),
            **{name: row[name] for name in ("change", "primary", "difference", "half_width")},
        )
    return rows.table


def read_baseline(baseline: Document) -> Table:
    """The table of a baseline file: what it accepts, and up to where."""
    rows = Rows()
    for entry in baseline["accepted"]:
        rows.add(entry["id"], severity=entry["severity"], hi=entry["hi"], expires=entry["expires"])
    rows.add("cells", n=len(baseline["cells"]), policy=baseline["policy"], fail_on=baseline["fail_on"])
    return rows.table


def read_repair(printed: str) -> Table:
    """The table of what `auditor repair` prints; seconds are left out."""
    text, number = " ".join(printed.split()), r"([+-]?[\d.]+)"
    interval, asked = rf"{number} \[{number}, {number}\]", rf"{number} of {number} repaired within"
    forms = {
        "repaired": rf"^{asked} a budget of {number}; {number} rolled back \(\S+ {number} ",
        "control": rf"control \w+: {asked} the same budget, drawdown {interval}",
        "gained": rf"paired by node: {number} points of the list repaired \[{number}, {number}\]",
        "word": r"\]: (better than|worse than|no better than) fine-tuning",
        "drawdown": rf"drawdown in points: {interval} on {number} test",
        "validation": rf"list, {number} on {number} validation nodes",
        "accuracy": rf"accuracy on all test nodes, the list included: {number}, after it {number}",
        "flipped": rf"{number} test nodes were right and are wrong now",
    }
    found = {name: re.search(form, text) for name, form in forms.items()}
    missing = [name for name, match in found.items() if match is None]
    if missing:
        raise ValueError(f"{', '.join(missing)} not found in: {text}")
    rows = Rows()
    rows.add("repair", **{name: [_typed(word) for word in match.groups()] for name, match in found.items() if match})
    return rows.table


# --- parts of a document --------------------------------------------------------------------------------------------


def _cell(rows: Rows, cell: Document) -> None:
    place = (cell["defense"], _probe(cell["probe"]), cell["seed"])
    checks = _checks(cell["validity"])
    rows.add("cell", *place, status=cell["status"], family=_family(cell["family"]), checks=checks or None)
    for m in cell["measurements"]:
        known = [*m["controls"], *([m["control"]] if m["control"] else [])]
        rows.add(
            *("number", *place, m["finding"], m["name"], m["subset"]),
            value=_interval(m),
            n=m["n"],
            primary=m["primary"] or None,
            worse_when=m["direction"].partition("_")[0],
            controls={control["name"]: _interval(control) for control in known} or None,
            strongest=m["control"] and m["control"]["name"],
            excess=_interval(m["advantage"]),
            limit=m["limit"] and [m["limit"]["name"], m["limit"]["value"]],
            p_adjusted=m["p_adjusted"],
            word=m["notes"].get("verdict"),
            why=m["notes"].get("reason") or None if "verdict" in m["notes"] else None,
        )
    for series in cell["series"]:
        for curve in series["curves"]:
            known = {name: _checksum(curve[name]) for name in ("x", "y", "lo", "hi") if curve[name]}
            rows.add("series", *place, series["id"], curve["name"], n=len(curve["y"]), **known)


def _finding(rows: Rows, finding: Document) -> None:
    rows.add(
        *("finding", finding["id"], finding["defense"], _probe(finding["probe"]), finding["measurement"]),
        finding["subset"],
        **{name: finding[name] for name in ("status", "severity", "severity_upper", "confidence", "untrusted")},
        value=_interval(finding),
        control=_interval(finding["control"]),
        excess=_interval(finding["advantage"]),
        threshold=finding["threshold"],
        cells=len(finding["cells"]),
    )


def _matrix_row(rows: Rows, row: Document) -> None:
    arm = row["defense"]
    rows.add("matrix", arm, control_of=row["control_of"], pareto=row["pareto"], fitted=not row["reason"])
    for entry in row["entries"]:
        rows.add(
            *("matrix", arm, _family(entry["family"]), entry["name"], entry["subset"]),
            value=_interval(entry),
            better=entry["better"],
            per_seed=entry["per_seed"],
            against={d["to"]: [*_interval(d), d["judged"]] for d in entry["differences"]} or None,
        )
    for sentence in row["words"]:
        for about, decision in decisions(sentence):
            rows.add("decision", arm, *about, **decision)
    if row["guarantee"]:
        rows.add("guarantee", arm, "matrix", promise=_promise(row["guarantee"]))


def _checks(checks: Iterable[Document]) -> dict[str, str]:
    """`kind status` by id; of several with one id, all of them in order."""
    found: dict[str, list[str]] = {}
    for check in checks:
        found.setdefault(check["id"], []).append(f"{check['kind']} {check['status']}")
    return {id_: ", ".join(words) for id_, words in found.items()}


def _promise(guarantee: Document) -> tuple[float, float, str]:
    return guarantee["epsilon"], guarantee["delta"], guarantee["level"]


def _interval(row: Document | None) -> list[float | None] | None:
    """[value, lo, hi]; None for nothing at all."""
    if row is None:
        return None
    ci = row["ci"] or {"lo": None, "hi": None}
    return [row["value"], ci["lo"], ci["hi"]]


def _checksum(values: Sequence[float | None]) -> list[float]:
    """How many are finite, their sum, and their sum weighted by place, which sees that two changed places."""
    known = [(place, value) for place, value in enumerate(values, 1) if value is not None]
    return [len(known), math.fsum(value for _, value in known), math.fsum(place * value for place, value in known)]


def _family(name: str) -> str:
    return FAMILIES.get(name, name)


def _probe(spec: str) -> str:
    id_, colon, params = spec.partition(":")
    return PROBES.get(id_, id_) + colon + params


def _typed(word: str) -> float | str:
    try:
        return float(word)
    except ValueError:
        return word


# --- decisions of a comparison: schema 1.0 has them as sentences ----------------------------------------------------

ABOUT = (
    (r"robustness at ([^,:]+)(?:, as .+, where it gains least)?: ", "robustness"),
    (r"accuracy under poisoning by ([^:]+): ", "poisoned accuracy"),
    (r"balanced accuracy(?: on (\w+))?(?: \(Holm over \d+\))?: ", "balanced accuracy"),
    (r"accuracy: ", "accuracy"),
    (r"links: ", "links"),
    (r"recovery(?: on (\w+))?: ", "recovery"),
    (r"(?=weights leave )", "dependence"),
)
"""How a sentence begins, and what it is about; the group is where."""

WORDS = (
    (r"^not compared", "not-compared"),
    (r"^against transferred attacks only", "transferred-only"),
    (r"^gain supported: .*but nothing proven is gained over", "explained"),
    (r"^gain supported", "gain"),
    (r"^harmful here", "harm"),
    (r"^gain not supported", "not-supported"),
    (r"underpowered", "underpowered"),
    (r"no gain shown", "no-gain-shown"),
    (r": harm(;|$)", "harm"),
    (r": gain(;|$)", "gain"),
    (r"^no gain over an edge-free model shown", "no-gain-shown"),
    (r"^no gain over an edge-free model:", "no-gain"),
    (r"^gain over an edge-free model:", "gain"),
    (r"^no utility: ", "no-utility"),
    (r"points over the constant predictor", "utility"),
    (r"nothing can be said$", "nothing-said"),
    (r": gives away links beyond an edge-free model$", "leak"),
    (r": no leak shown beyond an edge-free model$", "no-leak"),
    (r"\d % of the .* gains over ", "recovered"),
    (r": nothing to decorrelate$", "nothing"),
    (r": there is dependence to remove$", "dependence"),
)
"""What a sentence says, and its decision word; the first that is found counts."""


def decisions(sentence: str) -> list[tuple[tuple[str, ...], Row]]:
    """What a sentence of a comparison is about, and what it decides.

    Raises:
        ValueError: a sentence of no known form.
    """
    untrusted, text = re.match(r"(untrusted, .+? failed: )?(.*)", sentence, re.DOTALL).groups()  # type: ignore[union-attr]
    match, about = next(((m, name) for form, name in ABOUT if (m := re.match(form, text))), (None, ""))
    if match is None:
        raise ValueError(f"what is this about? {sentence}")
    place = tuple(filter(None, match.groups()))
    said = text[match.end() :]
    if about == "accuracy":  # two decisions: beside a constant, and beside an edge-free model
        parts = [(("accuracy", side), part) for side, part in zip(SIDES, said.split("; ", 1), strict=False)]
    else:
        parts = [((about, *place), said)]
    return [(key, _decided(part, bool(untrusted))) for key, part in parts]


SIDES = ("beside a constant", "beside no edges")


def _decided(said: str, untrusted: bool) -> Row:
    word = next((word for form, word in WORDS if re.search(form, said)), None)
    if word is None:
        raise ValueError(f"what is decided here? {said}")
    number = r"([+-]?\d+(?:\.\d+)?)"
    points = re.search(rf"{number} points (?:over|against) \S+(?: \[{number}, {number}\])?", said)
    share = re.match(rf"{number} % of the {number} points", said)
    seeds = re.search(r"needs about (\d+) seeds", said)
    return {
        "word": word,
        "untrusted": untrusted or None,
        "indicative": "indicative" in said or None,
        "points": [float(x) for x in points.groups() if x is not None] if points else None,
        "share": [float(x) for x in share.groups()] if share else None,
        "needs": int(seeds[1]) if seeds else None,
    }
