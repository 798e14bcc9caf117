"""Neutral tables: rows of numbers and decision words, whatever the shape of the document they were read from.

A table is a dict: key (words joined by " | ") -> row; a row is a dict of numbers, words and short lists. An interval is
[value, lo, hi]. The tables are older than the document that they are read from now: they keep the names of schema 1.0.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Document = Mapping[str, Any]
Row = dict[str, Any]
Table = dict[str, Row]

SUBSETS = {"paper": "t10"}
CHECKS = {"relaxation": "relaxation-rung"}
CURVES = {"random": "random flips"}
FINDINGS = {"prototype-edit": "prototype-shift"}
COLUMNS = {
    ("privacy", "auc", "prior"): ("privacy", "leak", "AUC beyond the guess without the model"),
    ("shift", "accuracy", ""): ("shift", "gap", "worst blind corruption"),
}
"""Names of today -> names that the tables keep."""
SIDES = {"utility": ("accuracy", "beside a constant"), "accuracy": ("accuracy", "beside no edges")}


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


def read_2_0(document: Document) -> Table:
    """The table of an `audit.json` with schema 2.0."""
    rows, target = Rows(), document["target"]
    rows.add("target", nodes=target["nodes"], edges=target["edges"], graphs=target["graphs"], classes=target["classes"])
    if target["clean"]:
        clean = target["clean"]
        rows.add("target", "accuracy", value=_interval(clean), n=clean["n"], constant=target["constant_predictor"])
    rows.add("target", "checks", **_checks(document["validity"]))
    for cell in document["cells"]:
        _cell(rows, cell, document["results"])
    promises = _promises(document)
    for arm, seed in sorted({(cell["arm"], cell["seed"]) for cell in document["cells"] if cell["arm"] in promises}):
        rows.add("guarantee", arm, seed, promise=promises[arm])
    for result in document["results"]:
        if result["judgement"]:
            _judged(rows, result)
    for arm in (document["comparison"] or {"arms": ()})["arms"]:
        _arm(rows, arm, document["results"])
    verdict, coverage = document["verdict"], document["coverage"]
    rows.add("verdict", **{name: verdict[name] for name in ("status", "exit_code", "fail_on", "policy")})
    rows.add("verdict", "counts", **verdict["counts"])
    rows.add("coverage", **coverage)
    return rows.table


def read_diff(diff: Document) -> Table:
    """The table of what `auditor.diff` finds between two audits, as a plain dict."""
    rows = Rows()
    for row in diff["rows"]:
        rows.add(
            *(row["arm"], row["probe"], _finding(row["finding"]), row["metric"], _subset(row["subset"])),
            primary=row["judged"],
            **{name: row[name] for name in ("change", "difference", "half_width")},
        )
    return rows.table


def read_baseline(baseline: Document) -> Table:
    """The table of a baseline file: what it accepts, and up to where."""
    rows = Rows()
    for entry in baseline["accepted"]:
        rows.add(entry["id"], severity=entry["severity"], hi=entry["hi"], expires=entry["expires"])
    rows.add("cells", n=len(baseline["cells"]), policy=baseline["policy"], fail_on=baseline["fail_on"])
    return rows.table


def read_repair(facts: Document) -> Table:
    """The table of a `repair.json`; seconds are left out."""
    own, control, gained = facts["own"], facts["control"], facts["gained"]
    rows = Rows()
    rows.add(
        "repair",
        repaired=[
            *_repaired(own),
            own["budget"],
            _ended(own, "costs-too-much"),
            sum(row["steps"] for row in own["nodes"]),
        ],
        control=[*_repaired(control), *_contrast(control["test"])],
        gained=_contrast(gained),
        test=_contrast(own["test"]),
        validation=_contrast(own["validation"]),
        accuracy=[_interval(own["before"]), _interval(own["after"])],
        broken=own["broken"],
    )
    return rows.table


# --- parts of a document --------------------------------------------------------------------------------------------


def _cell(rows: Rows, cell: Document, results: Sequence[Document]) -> None:
    place = (cell["arm"], cell["probe"], cell["seed"])
    checks = _checks(cell["validity"])
    rows.add("cell", *place, status=cell["status"], family=cell["family"], checks=checks or None)
    for result in results:
        for each in result["by_seed"]:
            if each["cell"] == cell["key"]:
                _number(rows, place, result, each)
    for series in cell["series"]:
        for curve in series["curves"]:
            known = {name: _checksum(curve[name]) for name in ("x", "y", "lo", "hi") if curve[name]}
            name = CURVES.get(curve["name"], curve["name"])
            rows.add("series", *place, series["id"], name, n=len(curve["y"]), **known)


def _number(rows: Rows, place: tuple[str, str, int], result: Document, each: Document) -> None:
    """One number of one seed. A comparison's own number stands once for each other arm, as in schema 1.0."""
    facts = result["facts"] or {}
    names = _finding(result["finding"]), result["metric"], _subset(result["subset"])
    own = {
        "value": _interval(each["estimate"]),
        "n": each["estimate"]["n"],
        "worse_when": result["worse_when"],
    }
    judged = {
        "primary": result["judged"] or None,
        "limit": result["limit"] and [result["limit"]["name"], result["limit"]["value"]],
        "p_adjusted": each["p_adjusted"],
    }
    controls, contrast = each["controls"], each["contrast"]
    if result["family"] == "defense" and controls:
        for control in controls:
            is_first = control is controls[0]
            _, metric, subset = names
            key = names if is_first else ("defense-gain", f"{metric}/{control['name']}", subset)
            rows.add(
                *("number", *place, *key),
                **own,
                **(judged if is_first else {}),
                controls={control["name"]: _interval(control["estimate"])},
                strongest=control["name"],
                excess=_excess(control["contrast"], result["worse_when"]),
            )
        return
    rows.add(
        *("number", *place, *names),
        **own,
        **judged,
        controls={control["name"]: _interval(control["estimate"]) for control in controls} or None,
        strongest=contrast["to"] if contrast else controls[0]["name"] if controls else None,
        excess=_excess(contrast, result["worse_when"]),
        word=facts.get("verdict"),
        why=facts.get("reason") or None if "verdict" in facts else None,
    )


def _judged(rows: Rows, result: Document) -> None:
    judgement, contrast = result["judgement"], result["contrast"]
    named = {control["name"]: control["estimate"] for control in result["controls"]}
    rows.add(
        *("finding", _finding(result["finding"]), result["arm"], result["probe"], result["metric"]),
        _subset(result["subset"]),
        **{name: judgement[name] for name in ("status", "severity", "severity_upper", "confidence", "untrusted")},
        value=_interval(result["estimate"]),
        control=_interval(named.get(contrast["to"]) if contrast else next(iter(named.values()), None)),
        excess=_excess(contrast, result["worse_when"]),
        threshold=judgement["threshold"],
        cells=len(result["by_seed"]),
    )


def _arm(rows: Rows, arm: Document, results: Sequence[Document]) -> None:
    name = arm["arm"]
    rows.add("matrix", name, control_of=arm["control_of"], pareto=arm["pareto"], fitted=not arm["reason"])
    for line in arm["headlines"]:
        column = (line["family"], line["metric"], line["subset"])
        rows.add(
            *("matrix", name, *COLUMNS.get(column, column)),
            value=_interval(line["estimate"]),
            better="higher" if line["worse_when"] == "lower" else "lower",
            per_seed=line["by_seed"],
            against={d["to"]: [*_interval(d["estimate"]), d["judged"]] for d in line["differences"]} or None,
        )
    for decision in arm["decisions"]:
        about = SIDES.get(decision["about"], (decision["about"].replace("-", " "),))
        where = (decision["subset"],) if decision["subset"] else ()
        rows.add("decision", name, *about, *where, **_decided(decision))
    for result in results:
        if result["arm"] == name and (result["facts"] or {}).get("kind") == "decorrelation":
            found = result["estimate"]["value"] > 0
            rows.add("decision", name, "dependence", word="nothing" if found else "dependence")
    if arm["guarantee"]:
        rows.add("guarantee", name, "matrix", promise=_promise(arm["guarantee"]))


def _decided(decision: Document) -> Row:
    """The decision word for which schema 1.0 had a sentence, with its points to one decimal."""
    codes = {code["code"]: code for code in decision["codes"]}
    about, status, blind = decision["about"], decision["status"], bool(codes.keys() & {"one-seed", "no-spread"})
    words = {"helps": "gain", "hurts": "harm", "not-compared": "not-compared", "not-settled": "underpowered"}
    unshown = "not-supported" if about in ("robustness", "poisoned-accuracy") else "no-gain-shown"
    word = words.get(status, "no-gain" if about == "accuracy" and not blind else unshown)
    if about == "links":
        word = "nothing-said" if blind else "leak" if status == "hurts" else "no-leak"
    for code, own in (("not-the-idea", "explained"), ("foreign-edits", "transferred-only"), ("recovery", "recovered")):
        word = own if code in codes else word
    if about == "utility":
        word = "no-utility" if "no-utility" in codes else "utility"
    estimate, recovery, few = decision["estimate"], codes.get("recovery"), codes.get("few-seeds")
    points = [float(f"{100 * end:.1f}") for end in _interval(estimate) or () if end is not None]
    return {
        "word": word,
        "untrusted": "untrusted-arm" in codes or None,
        "indicative": "indicative" in codes or None,
        "points": points if points and not recovery else None,
        "share": [float(f"{100 * recovery['share']:.0f}"), float(f"{100 * recovery['of']:.1f}")] if recovery else None,
        "needs": few["needed"] if few and few["seeds"] >= 5 else None,
    }


def _checks(checks: Iterable[Document]) -> dict[str, str]:
    """`kind status` by id; of several with one id, all of them in order."""
    found: dict[str, list[str]] = {}
    for check in checks:
        found.setdefault(CHECKS.get(check["id"], check["id"]), []).append(f"{check['kind']} {check['status']}")
    return {id_: ", ".join(words) for id_, words in found.items()}


def _promise(guarantee: Document) -> tuple[float, float, str]:
    return guarantee["epsilon"], guarantee["delta"], guarantee["level"]


def _promises(document: Document) -> dict[str, tuple[float, float, str]]:
    """By arm: of a defended target, of the arms of a comparison, of what a claim is about."""
    found = {arm["arm"]: arm["guarantee"] for arm in (document["comparison"] or {"arms": ()})["arms"]}
    found |= {cell["arm"]: cell["params"]["mechanism"] for cell in document["cells"] if cell["params"].get("mechanism")}
    if document["target"]["guarantee"]:
        found["none"] = document["target"]["guarantee"]
    return {arm: _promise(guarantee) for arm, guarantee in found.items() if guarantee}


def _interval(estimate: Document | None) -> list[float | None] | None:
    """[value, lo, hi]; None for nothing at all."""
    return None if estimate is None else [estimate["value"], estimate["lo"], estimate["hi"]]


def _excess(contrast: Document | None, worse_when: str) -> list[float | None] | None:
    """The difference signed so that positive = worse for the owner."""
    if contrast is None:
        return None
    value, lo, hi = contrast["value"], contrast["lo"], contrast["hi"]
    if worse_when == "lower":
        return [None if end is None else -end for end in (value, hi, lo)]
    return [value, lo, hi]


def _checksum(values: Sequence[float | None]) -> list[float]:
    """How many are finite, their sum, and their sum weighted by place, which sees that two changed places."""
    known = [(place, value) for place, value in enumerate(values, 1) if value is not None]
    return [len(known), math.fsum(value for _, value in known), math.fsum(place * value for place, value in known)]


def _ended(run: Document, *outcomes: str) -> int:
    return sum(row["outcome"] in outcomes for row in run["nodes"])


def _repaired(run: Document) -> list[int]:
    return [_ended(run, "repaired"), len(run["nodes"]) - _ended(run, "already-right")]


def _contrast(contrast: Document) -> list[float | None]:
    return [*(_interval(contrast) or ()), contrast["n"]]


def _finding(id_: str) -> str:
    return FINDINGS.get(id_, id_)


def _subset(name: str) -> str:
    return SUBSETS.get(name, name)
