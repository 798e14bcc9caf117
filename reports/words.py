"""Numbers and names as people read them; shared by every format that people read."""

from __future__ import annotations

import re

from auditor.audit import Advantage, Control, Interval

FAMILIES = {"privacy": "Privacy", "adversarial": "Robustness", "shift": "Shift"}
TITLES = {**FAMILIES, "defense": "Defences", "artifact": "Files", "dp": "Differential privacy"}  # of every family
QUESTIONS = {
    "privacy": "What does the model give away about the data it was trained on?",
    "adversarial": "How far does it fall when somebody edits the graph?",
    "shift": "How far does it fall when the data moves, and does it notice?",
    "defense": "What does each defence gain over no defence and over its own controls?",
    "dp": "Can the claimed epsilon and delta be believed?",
}
_ACRONYMS = {"auc": "AUC", "ap": "AP", "ece": "ECE", "sce": "SCE", "tpr": "TPR", "fpr": "FPR", "auroc": "AUROC"}
_HOLDERS = {
    "weights": "the weights",
    "posteriors": "served posteriors",
    "queries": "queries",
    "served": "queries on the served graph",
    "own": "queries on own graphs",
    "embeddings": "embeddings",
    "explanations": "explanations",
    "references": "reference models",
    "features": "node features",
    "labels": "labels",
    "density": "the edge density",
    "graph": "the graph",
    "released": "the released model",
    "mechanism": "the mechanism",
    "scores": "the scores",
}


def number(value: float | None, *, signed: bool = False) -> str:
    """Three decimals, a true minus sign, thousands separated; a dash for a number that is not there."""
    if value is None:
        return "–"
    if value and abs(value) < 0.0005:
        text = f"{value:+.0e}" if signed else f"{value:.0e}"
    elif float(value).is_integer() and abs(value) >= 1000:
        text = f"{value:+,.0f}" if signed else f"{value:,.0f}"
    else:
        text = f"{value:+,.3f}" if signed else f"{value:,.3f}"
    return text.replace("-", "−")


def interval(ci: Interval | None, *, signed: bool = False) -> str:
    """`[0.950, 0.961]`; an open end is an infinity, no interval an empty string."""
    if ci is None or (ci.lo is None and ci.hi is None):
        return ""
    lo = "−∞" if ci.lo is None else number(ci.lo, signed=signed)
    hi = "∞" if ci.hi is None else number(ci.hi, signed=signed)
    return f"[{lo}, {hi}]"


def advantage(found: Advantage | None) -> str:
    """`+0.054 [+0.046, +0.062]`, or a dash."""
    if found is None:
        return "–"
    return f"{number(found.value, signed=True)} {interval(found.ci, signed=True)}".strip()


def control(found: Control | None) -> str:
    """`0.902 (features + labels)`, or a dash."""
    return "–" if found is None else f"{number(found.value)} ({found.name})"


def metric(name: str) -> str:
    """`tpr@0.001` as `TPR at 0.001 FPR`, `robust_accuracy` as `robust accuracy`."""
    head, _, at = name.partition("@")
    words = " ".join(_ACRONYMS.get(word, word) for word in re.split(r"[_ ]", head))
    return f"{words} at {at} FPR" if at and head == "tpr" else f"{words} @ {at}" if at else words


def measured(name: str, subset: str) -> str:
    """Metric and what it was measured on, `AUC · full`."""
    return f"{metric(name)} · {subset}" if subset else metric(name)


def holders(access: tuple[str, ...]) -> str:
    """Access words as a list of things held; `nothing` when there are none."""
    return ", ".join(_HOLDERS.get(word, word) for word in access) or "nothing"


def band(severity: str, upper: str) -> str:
    """`medium (≤ high)`; only the band when the interval lies inside it."""
    return severity if severity == upper else f"{severity} (≤ {upper})"


def counted(count: int, noun: str, plural: str = "") -> str:
    """`1 finding`, `3 findings`."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def moment(iso: str | None) -> str:
    """`2026-11-20 12:00:00 UTC`; empty for no time."""
    return (iso or "").replace("T", " ").replace("+00:00", " UTC")
