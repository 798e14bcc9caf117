"""Hand-made comparisons: five seeds with a guarantee and a defence that was not fitted; hostile; one seed."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import numpy as np

from auditor.audit import Audit, Matrix
from auditor.guarantee import Guarantee
from tests.reports.samples import HOSTILE, realistic

SEEDS = (0, 1, 2, 3, 4)
GUARANTEE = {
    "level": "edge",
    "relation": "flip-pair",
    "epsilon": 4.0,
    "delta": 1e-05,
    "accountant": "gaussian-exact",
    "mechanism": {"name": "gaussian noise on aggregates", "sigma": 2.162},
    "units": 5278,
    "covers": ["training", "inference"],
    "not_protected": ["features", "labels"],
    "caveats": ["edges between test nodes are not covered"],
    "noise_seed": "recorded",
}
# Means by arm in the order of COLUMNS; a control names its defence.
COLUMNS = (
    ("utility", "clean_accuracy", "", "higher"),
    ("utility", "balanced_accuracy", "", "higher"),
    ("privacy", "leak", "AUC beyond the guess without the model", "lower"),
    ("robustness", "robust_accuracy", "eps=0.05", "higher"),
    ("shift", "gap", "worst blind corruption", "lower"),
)
ARMS: dict[str, tuple[str, tuple[float, ...]]] = {
    "none": ("", (0.815, 0.806, 0.054, 0.612, 0.054)),
    "joint-cluster": ("", (0.79, 0.78, 0.051, 0.668, 0.048)),
    "dp-edge:eps=4": ("", (0.68, 0.66, 0.004, 0.613, 0.0395)),
    "l2r:mode=all": ("", ()),
    "joint-cluster:arm=ce": ("joint-cluster", (0.812, 0.804, 0.053, 0.62, 0.055)),
    "joint-cluster:arm=joint_random": ("joint-cluster", (0.81, 0.8, 0.055, 0.619, 0.05)),
    "mlp": ("dp-edge:eps=4", (0.57, 0.56, 0.0, 0.57, 0.01)),
    "l2r:mode=erm": ("l2r:mode=all", ()),
}
REASON = "RuntimeError: the loss is not finite"


def _values(arm: int, column: int, mean: float, seeds: tuple[int, ...]) -> list[float]:
    return [round(mean + 0.004 * math.sin(1.7 * seed + 2.3 * arm + column), 6) for seed in seeds]


def _matrix(seeds: tuple[int, ...]) -> dict[str, Any]:
    table = {
        name: [_values(a, c, mean, seeds) for c, mean in enumerate(means)]
        for a, (name, (_, means)) in enumerate(ARMS.items())
    }
    rows = []
    for name, (control_of, _) in ARMS.items():
        others = [other for other, (owner, _) in ARMS.items() if owner == name] + ["none"] * (name != "none")
        entries = []
        for c, own in enumerate(table[name]):
            family, metric, subset, better = COLUMNS[c]
            mean = float(np.mean(own))
            entries.append(
                {
                    "family": family,
                    "name": metric,
                    "subset": subset,
                    "better": better,
                    "value": mean,
                    "ci": {"lo": mean - 0.02, "hi": mean + 0.02},
                    "per_seed": own,
                    "differences": [_difference(other, own, table[other][c]) for other in others if table[other]],
                }
            )
        row: dict[str, Any] = {
            "defense": name,
            "control_of": control_of,
            "entries": entries,
            "seconds": None if not entries else 0.0 if name == "none" else 12.34,
            "pareto": name in ("none", "joint-cluster", "mlp"),
        }
        if not entries:
            row["reason"] = REASON
        if name == "dp-edge:eps=4":
            row["guarantee"] = GUARANTEE
        if name == "joint-cluster":
            row["words"] = [
                "robustness at eps=0.05: +4.8 points over joint-cluster:arm=ce [+4.1, +5.5]: gain supported",
                "balanced accuracy: -2.4 points against joint-cluster:arm=ce [-3.0, -1.8]: harm; indicative, 5 of 10",
            ]
            row["notes"] = {"purity": 0.664, "partition": "metis"}
        if name == "dp-edge:eps=4":
            row["words"] = ["robustness at eps=0.05: gain not supported: +0.3 points over mlp [-0.2, +0.8]"]
        rows.append(row)
    left_out = ["probe graphmi (GraphMI: rebuilds training edges from the weights by gradient inversion)"]
    left_out.append(
        "edge budgets other than 5 %, corruption above severity 1, retrained twins as controls (quick) " + "x" * 20
    )
    return {"rows": rows, "seeds": list(seeds), "left_out": left_out}


def _difference(to: str, own: list[float], other: list[float]) -> dict[str, Any]:
    paired = np.subtract(own, other)
    ci = None
    if len(paired) > 1:
        half = 2.776 * float(paired.std(ddof=1)) / math.sqrt(len(paired))
        ci = {"lo": float(paired.mean()) - half, "hi": float(paired.mean()) + half}
    return {"to": to, "value": float(paired.mean()), "ci": ci}


def _with(matrix: dict[str, Any]) -> Audit:
    """The realistic audit, its cells again under `joint-cluster`, a gain cell, a cell that was not fitted."""
    audit = realistic()
    key = {cell.key: hashlib.sha256(f"{cell.key}/joint".encode()).hexdigest() for cell in audit.cells}
    joint = [
        c.model_copy(update={"key": key[c.key], "defense": "joint-cluster"}) for c in audit.cells if c.status == "ok"
    ]
    known = {cell.key for cell in joint}
    findings = [
        f.model_copy(update={"defense": "joint-cluster", "cells": (key[f.cells[0]],)})
        for f in audit.findings
        if key[f.cells[0]] in known
    ]
    gain = audit.cells[3].model_copy(
        update={
            "key": hashlib.sha256(b"gain").hexdigest(),
            "probe": "gain",
            "family": "defense",
            "defense": "dp-edge:eps=4",
            "guarantee": Guarantee.model_validate(GUARANTEE),
            "series": (),
            "measurements": tuple(
                m.model_copy(update={"finding": "defense-gain", "primary": False}) for m in audit.cells[3].measurements
            ),
        }
    )
    blocked = audit.cells[0].model_copy(
        update={
            "key": hashlib.sha256(b"blocked").hexdigest(),
            "defense": "l2r:mode=all",
            "status": "error",
            "reason": f"l2r:mode=all was not fitted: {REASON}",
            "measurements": (),
        }
    )
    return audit.model_copy(
        update={
            "matrix": Matrix.model_validate(matrix),
            "seeds": tuple(matrix["seeds"]),
            "cells": (*audit.cells, *joint, gain, blocked),
            "findings": (*audit.findings, *findings),
        }
    )


def comparison() -> Audit:
    """Five seeds, three defences asked for."""
    return _with(_matrix(SEEDS))


def one_seed() -> Audit:
    """No interval of any difference."""
    return _with(_matrix((0,)))


def hostile_comparison() -> Audit:
    """Names of defences, words, reasons and guarantees are attacks on the reader."""
    matrix = _matrix(SEEDS)
    for row in matrix["rows"]:
        if row["defense"] != "none":
            row["defense"] += HOSTILE
        if row["control_of"]:
            row["control_of"] += HOSTILE
        for entry in row["entries"]:
            for difference in entry["differences"]:
                difference["to"] += HOSTILE if difference["to"] != "none" else ""
            entry["subset"] += HOSTILE
        row["words"] = [word + HOSTILE for word in row.get("words", [])]
        row["reason"] = row["reason"] + HOSTILE if "reason" in row else ""
        row["notes"] = {f"note{HOSTILE}": HOSTILE}
        if "guarantee" in row:
            row["guarantee"] = {
                **row["guarantee"],
                "mechanism": {f"name{HOSTILE}": HOSTILE, "name": HOSTILE},
                "not_protected": [HOSTILE],
                "caveats": [HOSTILE],
            }
    matrix["left_out"] = [HOSTILE]
    return _with(matrix)
