"""One sentence per finding: what, by whom, how much beyond the control, against which threshold (reports spec 5)."""

from __future__ import annotations

import math

from auditor.audit import Advantage, Interval, Scale, Severity, Status
from auditor.joined import Joined

_UNITS = {"auc": "AUC", "tpr": "TPR"}


def of(
    joined: Joined,
    status: Status,
    severity: Severity,
    upper: Severity,
    threshold_words: str,
    threshold: float | None,
    notes: tuple[str, ...],
) -> str:
    """The sentence: the harness's own words where it gave some, then band, threshold and status.

    Example: "link stealing from posteriors recovers edges 0.09 AUC [0.06, 0.12] better than features and labels alone:
    low (≤ medium), below high: pass".
    """
    what = joined.text.strip().rstrip(".:;") or _generic(joined)
    if joined.worst_seed is not None:
        shown = ", ".join(number(value, joined.scale) for value in joined.spread)
        what += f" (worst of {joined.seeds} seeds, {joined.worst_seed}; advantages {shown})"
    elif joined.seeds > 1 and joined.text and joined.advantage is not None:
        what += f" (over {joined.seeds} seeds {number_with_interval(joined.advantage, joined.scale)})"
    if joined.scale == "claim":  # its own words end in the verdict word
        return what
    band = severity if severity == upper else f"{severity} (≤ {upper})"
    judged = ", ".join(filter(None, (band, _position(joined, status, threshold_words, threshold))))
    return "; ".join((f"{what}: {judged}: {status}", *notes))


def number(value: float | None, scale: Scale) -> str:
    """A number with as many decimals as its scale needs."""
    if value is None or not math.isfinite(value):
        return "open"
    return f"{value:.3f}" if scale == "tpr" else f"{value:.2f}"


def interval(lo: float | None, hi: float | None, scale: Scale) -> str:
    """`[lo, hi]`, with the word `open` at an open end."""
    return f"[{number(lo, scale)}, {number(hi, scale)}]"


def number_with_interval(advantage: Advantage | None, scale: Scale) -> str:
    """`0.31 [0.27, 0.35]`."""
    if advantage is None:
        return "no value"
    return f"{number(advantage.value, scale)} {interval(advantage.ci.lo, advantage.ci.hi, scale)}"


def remedy(n: int, value: float, lo: float, hi: float, threshold: float, seeds: int) -> tuple[str, ...]:
    """What would settle an interval that straddles its threshold: how many more items, judged by its width.

    The half-width falls with the root of the number of items, so (half-width / distance)² times as many are needed.
    """
    half = (value - lo) if value >= threshold else (hi - value)
    distance = abs(value - threshold)
    more = "" if seeds > 2 else " or more seeds"
    if not math.isfinite(half):
        return ("an open interval cannot settle this",)
    if distance == 0 or not math.isfinite(distance) or (half / distance) ** 2 > 1000:
        return (f"the value lies on the threshold: only another threshold{more} would settle it",)
    needed = math.ceil(n * ((half / distance) ** 2 - 1))
    if needed <= 0:
        return ()
    return (f"about {_rounded(needed)} more items, profile full{more} would settle it",)


def _generic(joined: Joined) -> str:
    on = f" on {joined.subset}" if joined.subset else ""
    held = f" from {', '.join(joined.access)}" if joined.access else ""
    value = f"{number(joined.value, joined.scale)}{_shown(joined.ci, joined.scale)}"
    text = f"{joined.probe}{held}: {joined.name}{on} is {value}"
    if joined.advantage is None or joined.control is None:
        return text
    unit, advantage, word = _UNITS.get(joined.scale, ""), joined.advantage, "worse"
    if advantage.value is not None and advantage.value < 0:  # 0.07 better, never -0.07 worse
        lo, hi = (None if end is None else -end for end in (advantage.ci.hi, advantage.ci.lo))
        advantage, word = Advantage(value=-advantage.value, ci=Interval(lo=lo, hi=hi)), "better"
    beyond = " ".join(filter(None, (number_with_interval(advantage, joined.scale), unit)))
    return f"{text}, {beyond} {word} than {joined.control.name} ({number(joined.control.value, joined.scale)})"


def _shown(ci: Interval | None, scale: Scale) -> str:
    return "" if ci is None else f" {interval(ci.lo, ci.hi, scale)}"


def _position(joined: Joined, status: Status, words: str, threshold: float | None) -> str:
    if joined.scale in ("claim", "artifact"):
        return ""
    if threshold is None:
        return ""
    if math.isinf(threshold):
        return f"no band {words} on this scale"
    at = f"{words} ({number(threshold, joined.scale)})"
    if joined.advantage is None:
        return f"not judged against {at}"
    lo = -math.inf if joined.advantage.ci.lo is None else joined.advantage.ci.lo
    hi = math.inf if joined.advantage.ci.hi is None else joined.advantage.ci.hi
    if status == "pass" or hi < threshold:
        return f"below {at}"
    if status == "fail" or lo > threshold:
        return f"at or above {at}" if threshold else f"above {at}"
    return f"straddles {at}"


def _rounded(count: int) -> str:
    """Two leading digits: it is an estimate."""
    digits = max(len(str(count)) - 2, 0)
    return f"{math.ceil(count / 10**digits) * 10**digits:,}".replace(",", " ")
