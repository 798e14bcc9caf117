"""Hand-made audits: a realistic one with every status and chart kind, a clean one, an empty one, a hostile one."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from auditor.audit import Audit, from_bytes

HOSTILE = (
    '<script>alert(1)</script> ]]> --> | $x$ `tick` "quote" \x1b[31mred\x1b[0m \x1b]8;;http://evil.example\x07link\x1b]8;;\x07'
    " \u202egnp.exe\u2066 \x00\x08 [bold]markup[/bold] =HYPERLINK(1) ${{ secrets }} {{ 7*7 }} " + "A" * 10_000
)


def _ci(value: float, half: float) -> dict[str, float]:
    return {"lo": round(value - half, 6), "hi": round(value + half, 6)}


def _measure(
    name: str,
    subset: str,
    finding: str,
    value: float,
    control: tuple[str, float] | None,
    half: float = 0.012,
    **more: Any,
) -> dict[str, Any]:
    sign = -1 if more.get("direction") == "lower_is_worse" else 1
    advantage = None
    if control is not None:
        gained = sign * (value - control[1])
        advantage = {"value": gained, "ci": _ci(gained, half)}
    return {
        "name": name,
        "subset": subset,
        "finding": finding,
        "value": value,
        "ci": _ci(value, half),
        "control": None if control is None else {"name": control[0], "value": control[1]},
        "controls": [] if control is None else [{"name": control[0], "value": control[1]}],
        "advantage": advantage,
        "n": 10_556,
        "direction": "higher_is_worse",
        "scale": "auc",
        **more,
    }


def _cell(probe: str, family: str, *, seed: int = 0, **more: Any) -> dict[str, Any]:
    key = hashlib.sha256(f"{probe}{seed}{more.get('defense', '')}".encode()).hexdigest()
    return {"key": key, "probe": probe, "family": family, "seed": seed, "status": "ok", **more}


def _finding(cell: dict[str, Any], index: int, status: str, severity: str, upper: str, **more: Any) -> dict[str, Any]:
    row = cell["measurements"][index]
    words = (row["finding"], cell["probe"], row["name"], row["subset"])
    return {
        "id": row["finding"],
        "fingerprint": hashlib.sha256("\0".join(words).encode()).hexdigest(),
        "status": status,
        "severity": severity,
        "severity_upper": upper,
        "confidence": "medium",
        "reason": f"{row['text']}: {severity}, threshold high (0.25): {status}; one seed",
        "probe": cell["probe"],
        "measurement": row["name"],
        "subset": row["subset"],
        "cells": [cell["key"]],
        "value": row["value"],
        "ci": row["ci"],
        "control": row["control"],
        "advantage": row["advantage"],
        "threshold": 0.25,
        "ids": ["AML.T0024.001", "ML03", "CWE-359"] if cell["family"] == "privacy" else [],
        "access": cell["access"],
        **more,
    }


def _roc() -> dict[str, Any]:
    xs = [0.0, *(10 ** (-4 + i / 10) for i in range(41))]
    return {
        "id": "roc/prior",
        "kind": "roc",
        "title": "Edges found against false alarms",
        "x_label": "false positive rate",
        "y_label": "true positive rate",
        "curves": [
            {"name": "posterior similarity", "role": "value", "x": xs, "y": [round(x**0.12, 6) for x in xs]},
            {"name": "features + labels", "role": "control", "x": xs, "y": [round(x**0.3, 6) for x in xs]},
        ],
    }


def _budget() -> dict[str, Any]:
    x = [0.0, 0.01, 0.025, 0.05]
    return {
        "id": "budget",
        "kind": "budget",
        "title": "Accuracy against the share of edges edited",
        "x_label": "edited edges / edges",
        "y_label": "accuracy on test nodes",
        "curves": [
            {
                "name": "worst attack",
                "role": "worst",
                "x": x,
                "y": [0.815, 0.74, 0.67, 0.612],
                "lo": [0.79, 0.71, 0.64, 0.58],
                "hi": [0.838, 0.766, 0.698, 0.642],
            },
            {"name": "random edits", "role": "control", "x": x, "y": [0.815, 0.812, 0.808, 0.801]},
            {"name": "dice", "role": "reference", "x": x, "y": [0.815, 0.81, 0.802, 0.793]},
        ],
    }


def _strata() -> dict[str, Any]:
    y = [0.71, 0.8, 0.84, 0.87]
    return {
        "id": "strata/degree",
        "kind": "strata",
        "title": "Accuracy by degree",
        "x_label": "degree quartile",
        "y_label": "accuracy",
        "curves": [
            {
                "name": "this model",
                "role": "value",
                "x": [0, 1, 2, 3],
                "y": y,
                "lo": [v - 0.05 for v in y],
                "hi": [v + 0.04 for v in y],
                "labels": ["degree 1–2", "degree 3", "degree 4–5", "degree 6 or more"],
            },
            {"name": "all test nodes", "role": "reference", "x": [0, 1, 2, 3], "y": [0.815] * 4},
        ],
    }


def _severity() -> dict[str, Any]:
    return {
        "id": "severity/edge-drop",
        "kind": "severity",
        "title": "Accuracy as edges are dropped",
        "x_label": "share of edges dropped",
        "y_label": "accuracy",
        "curves": [
            {
                "name": "edge-drop",
                "role": "value",
                "x": [0.0, 0.1, 0.3, 0.5],
                "y": [0.815, 0.806, 0.79, 0.761],
                "lo": [0.79, 0.78, 0.765, 0.734],
                "hi": [0.838, 0.83, 0.814, 0.787],
            },
            {"name": "constant predictor", "role": "reference", "x": [0.0, 0.5], "y": [0.319, 0.319]},
        ],
    }


def _reliability() -> dict[str, Any]:
    x = [0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 0.95]
    return {
        "id": "reliability",
        "kind": "reliability",
        "title": "Accuracy against confidence",
        "x_label": "confidence",
        "y_label": "accuracy",
        "curves": [
            {
                "name": "test nodes",
                "role": "value",
                "x": x,
                "y": [0.3, 0.52, 0.61, 0.72, 0.83, 0.89, None, 0.98],
                "lo": [0.1, 0.4, 0.52, 0.64, 0.78, 0.84, None, 0.96],
                "hi": [0.55, 0.63, 0.7, 0.79, 0.88, 0.93, None, 0.99],
            }
        ],
    }


def _document() -> dict[str, Any]:
    flabels = ("features + labels", 0.902)
    graphmi = _cell(
        "graphmi",
        "privacy",
        access=["weights", "features", "labels"],
        params={"protocol": "full"},
        seconds=21.4,
        measurements=[
            _measure(
                "auc",
                "full",
                "privacy-link-inversion",
                0.831,
                flabels,
                primary=True,
                text="GraphMI from the weights ranks edges 0.07 AUC worse than features and labels alone: "
                "the model adds nothing an adversary with features and labels did not have",
            ),
            _measure("ap", "full", "privacy-link-inversion", 0.842, ("features + labels", 0.911)),
        ],
    )
    stealing = _cell(
        "posterior-similarity",
        "privacy",
        access=["posteriors", "features", "labels"],
        seconds=8.2,
        measurements=[
            _measure(
                "auc",
                "prior",
                "privacy-link-stealing",
                0.956,
                flabels,
                primary=True,
                text="link stealing from posteriors ranks edges 0.05 AUC better than features and labels alone",
            ),
            _measure(
                "tpr@0.001",
                "prior",
                "privacy-link-stealing",
                0.3521,
                ("features + labels", 0.0483),
                half=0.02,
                primary=True,
                scale="tpr",
                text="at one false alarm in 1,000 non-edges, link stealing from posteriors finds 30 points more of the "
                "edges than features and labels alone",
            ),
            _measure("auc", "prior/intra-class", "privacy-link-stealing", 0.881, ("features + labels", 0.803)),
            _measure("precision", "prior", "privacy-link-stealing", 0.00031, None),
        ],
        series=[_roc()],
    )
    evasion = _cell(
        "structure-evasion",
        "adversarial",
        access=["weights", "features", "graph"],
        seconds=64.0,
        measurements=[
            _measure(
                "robust_accuracy",
                f"eps={eps}",
                "robustness-structure",
                value,
                ("random edits", control),
                half=0.031,
                primary=eps == 0.05,
                scale="accuracy",
                direction="lower_is_worse",
                text=f"whoever holds the weights and edits {eps:.0%} of the edges takes 0.19 of accuracy more than "
                "random edits do",
            )
            for eps, value, control in ((0.01, 0.74, 0.812), (0.025, 0.67, 0.808), (0.05, 0.612, 0.801))
        ],
        series=[_budget()],
    )
    strata = _cell(
        "strata",
        "shift",
        access=["graph"],
        measurements=[
            _measure(
                "worst_group_accuracy",
                "degree",
                "shift-worst-group",
                0.71,
                ("random groups of the same sizes", 0.79),
                half=0.05,
                primary=True,
                scale="gap",
                direction="lower_is_worse",
                limit={"name": "max_worst_group_excess_pt", "value": 0.1},
                text="nodes of degree 1–2 are 0.08 less accurate than random groups of the same sizes",
            ),
            _measure(
                "ece",
                "degree",
                "shift-miscalibrated",
                0.021,
                ("calibrated model", 0.018),
                primary=True,
                scale="calibration",
                text="confidence and accuracy differ by 0.02",
            ),
        ],
        series=[_strata(), _reliability()],
    )
    corruption = _cell(
        "corruption",
        "shift",
        access=["graph"],
        measurements=[
            _measure(
                "accuracy",
                f"{kind}={level}",
                "shift-gap",
                0.79 - level / 10,
                ("no shift", 0.815),
                half=0.02,
                primary=level == 0.5,
                scale="gap",
                direction="lower_is_worse",
                text=f"{kind} {level}: accuracy falls by a little",
            )
            for kind in ("edge-drop", "edge-add", "feature-mask", "feature-noise", "node-drop")
            for level in (0.1, 0.3, 0.5)
        ],
        series=[_severity()],
    )
    crashed = _cell(
        "features-evasion",
        "adversarial",
        status="error",
        reason="RuntimeError: mat1 and mat2 do not fit",
    )
    skipped = _cell("membership", "privacy", status="skipped", reason="needs REFERENCES: none were given")
    slow = _cell("injection", "adversarial", status="timeout", reason="no result after 600 s")
    cells = [graphmi, stealing, evasion, strata, corruption, crashed, skipped, slow]
    accepted = "baseline: ticket 12, fixed in the next release (privacy team, until 2027-06-30)"
    findings = [
        _finding(graphmi, 0, "pass", "none", "none"),
        _finding(stealing, 0, "pass", "low", "low"),
        _finding(stealing, 1, "fail", "critical", "critical", confidence="high", threshold=0.1),
        _finding(evasion, 2, "accepted", "medium", "medium", accepted_by=accepted),
        _finding(strata, 0, "inconclusive", "low", "medium", threshold=0.1),
        _finding(strata, 1, "pass", "none", "none"),
        *(_finding(corruption, 2 + 3 * i, "pass", "none", "low") for i in range(5)),
    ]
    return {
        "schema_version": "1.0",
        "tool": {"name": "gnn-auditor", "version": "0.1.0"},
        "environment": {"python": "3.12.4", "torch": "2.10.0", "torch_geometric": "2.7.0", "threads": 1},
        "seeds": [0],
        "profile": "standard",
        "config": {"profile": "standard", "policy": "standard", "gate": {"fail_on": "high"}},
        "argv": ["run", "out/cora-gcn", "-o", "out/cora"],
        "started": "2026-11-20T12:00:00+00:00",
        "seconds": 143.2,
        "target": {
            "name": "cora-gcn",
            "task": "node",
            "kind": "GCN",
            "digest": hashlib.sha256(b"cora").hexdigest(),
            "capabilities": ["GRAD_EDGE", "PARAMS", "PROBS"],
            "nodes": 2708,
            "edges": 5278,
            "graphs": 1,
            "features": 1433,
            "classes": 7,
            "split": {"spec": "public", "seed": 0, "train": 140, "val": 500, "test": 1000},
            "clean": {"accuracy": 0.815, "ci": [0.79, 0.838], "n": 1000, "constant_predictor": 0.319},
            "provenance": {"data": "cora", "arch": "gcn", "hidden": 16},
        },
        "validity": [
            {"id": "weights-match", "kind": "integrity", "status": "pass", "evidence": "digest as recorded"},
            {"id": "deterministic", "kind": "integrity", "status": "pass", "evidence": "two forward passes agree"},
            {
                "id": "relaxation-gap",
                "kind": "strength",
                "status": "warn",
                "evidence": "edge gradient differs from finite differences by 3.1e-3",
                "touches": ["adversarial"],
            },
            {"id": "leaky-split", "kind": "warning", "status": "not_checked", "evidence": "no duplicate ids given"},
        ],
        "cells": cells,
        "findings": findings,
        "coverage": {"planned": 8, "ok": 5, "skipped": 1, "error": 1, "timeout": 1, "missing": []},
        "verdict": {
            "status": "FAILED",
            "exit_code": 1,
            "fail_on": "high",
            "counts": {"pass": 8, "fail": 1, "inconclusive": 1, "accepted": 1, "untrusted": 0},
            "lines": [
                "FAILED  1 finding at or above high or beyond a limit · 1 accepted · 1 inconclusive · 5 of 8 cells",
                "features-evasion seed 0 ended in error: RuntimeError: mat1 and mat2 do not fit",
                "injection seed 0 ended in timeout: no result after 600 s",
            ],
        },
    }


def _read(document: dict[str, Any]) -> Audit:
    return from_bytes(json.dumps(document).encode())


def realistic() -> Audit:
    """Cora-like numbers: every status, every chart kind, a crash, a skip and a timeout."""
    return _read(_document())


def clean() -> Audit:
    """Everything ran and nothing was found."""
    document = _document()
    document["cells"] = document["cells"][:1]
    document["findings"] = document["findings"][:1]
    document["validity"] = document["validity"][:2]
    document["coverage"] = {"planned": 1, "ok": 1, "skipped": 0, "error": 0, "timeout": 0}
    document["verdict"] = {"status": "PASSED", "exit_code": 0, "fail_on": "high", "lines": []}
    return _read(document)


def empty() -> Audit:
    """No cell gave a result."""
    document = _document()
    document.update(cells=[], findings=[], validity=[])
    document["coverage"] = {"planned": 3, "ok": 0, "skipped": 0, "error": 0, "timeout": 0}
    document["verdict"] = {"status": "INCOMPLETE", "exit_code": 3, "fail_on": "high", "lines": []}
    return _read(document)


def several_seeds() -> Audit:
    """The realistic audit's stealing cell three times, and once on a defence with a guarantee."""
    document = _document()
    cell = document["cells"][1]
    for seed in (1, 2):
        document["cells"].append({**cell, "key": hashlib.sha256(f"{seed}".encode()).hexdigest(), "seed": seed})
    key = hashlib.sha256(b"dp").hexdigest()
    guarantee = {
        "level": "edge",
        "relation": "flip-pair",
        "epsilon": 4.0,
        "delta": 1e-5,
        "accountant": "gaussian-exact",
        "mechanism": {"name": "GAP", "sigma": 2.162},
        "units": 5278,
        "covers": ["training", "inference"],
        "not_protected": ["features", "labels"],
        "noise_seed": "secret",
    }
    document["cells"].append({**cell, "key": key, "defense": "dp-edge", "guarantee": guarantee})
    finding = {**document["findings"][1], "defense": "dp-edge", "cells": [key]}
    document["findings"].append(finding)
    document["seeds"] = [0, 1, 2]
    return _read(document)


def hostile() -> Audit:
    """Every free string of the realistic audit is an attack on its reader."""
    document = _document()
    for row in (document["target"], *document["cells"], *document["findings"], *document["validity"]):
        _poison(row)
    for cell in document["cells"]:
        for row in (*cell.get("measurements", []), *cell.get("series", [])):
            _poison(row)
        for row in (c for series in cell.get("series", []) for c in series["curves"]):
            _poison(row)
    for name in ("tool", "environment", "config"):
        document[name][f"key{HOSTILE}"] = HOSTILE
    document["argv"] = ["run", HOSTILE]
    document["verdict"]["lines"] = [f"FAILED {HOSTILE}", HOSTILE]
    document["coverage"]["missing"] = [HOSTILE]
    return _read(document)


def _poison(row: dict[str, Any]) -> None:
    """Adds the hostile text to every free string of one object; ids that must agree keep agreeing."""
    fixed = (
        "status",
        "severity",
        "severity_upper",
        "confidence",
        "direction",
        "scale",
        "role",
        "task",
        "key",
        "family",
    )
    for name, value in row.items():
        if name in (*fixed, "cells", "fingerprint") or (name == "kind" and "nodes" not in row):
            continue
        if isinstance(value, str):
            row[name] = value + HOSTILE
        elif isinstance(value, list) and value and isinstance(value[0], str):
            row[name] = [item + HOSTILE for item in value]
        elif isinstance(value, dict) and isinstance(value.get("name"), str):
            row[name] = {**value, "name": value["name"] + HOSTILE}
