"""Assertions for a model's own tests, decided on intervals and never on points; see docs/python-api.md.

Imports nothing heavy: the pytest plugin imports it.
"""

from __future__ import annotations

import os
import unittest
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from auditor import registry
from auditor.errors import ProbeNotRun

if TYPE_CHECKING:
    from auditor.api.report import Number, Report
    from auditor.document import Estimate

LINKS = "auditor.evaluate.links.harness:evaluate"
EDITS = "auditor.evaluate.robustness.harness:evaluate"
"""The harnesses whose probes the assertions are about."""

_LOADING = ("split", "claimed_accuracy", "reference", "transform", "build", "recipe", "name", "trust_pickle")


@dataclass(slots=True)
class _Audits:
    """What this session asks of every audit, and the reports it has."""

    profile: str | None = None
    out: Path | None = None
    reports: dict[tuple[object, ...], Report] = field(default_factory=dict)


_AUDITS = _Audits()


def begin(*, profile: str | None = None, out: Path | None = None) -> None:
    """Begins a session; reports of an earlier one are forgotten.

    Args:
        profile: of audits that name none; None for the default.
        out: every report is written to a folder of its own below it.
    """
    _AUDITS.profile, _AUDITS.out = profile, out
    _AUDITS.reports.clear()


def audited(model: Any, data: Any = None, **options: Any) -> Report:
    """`auditor.audit`, run once a session for the same contents of model, data and split, and the same options.

    Raises:
        AuditorError: as `audit` does.
    """
    from auditor.api.auditing import audit, load_target

    options = {"profile": _AUDITS.profile} | options
    how = {name: options[name] for name in (*_LOADING, "data_root", "threads") if name in options}
    target = load_target(model, data, **how)
    place = os.fspath(model) if isinstance(model, str | os.PathLike) else ""  # its config file counts
    asked = repr(sorted((name, value) for name, value in options.items() if name not in _LOADING))
    split, recipe = target.split, None if target.recipe is None else target.recipe.describe()
    masks = [mask.nonzero().flatten().tolist() for mask in (split.train, split.val, split.test)]
    said = repr((target.name, target.digest, target.graph.digest(), masks, target.claimed_accuracy, recipe))
    key = (place, said, asked, options.get("build"))
    if key not in _AUDITS.reports:
        if _AUDITS.out is not None:
            options = {"out": _AUDITS.out / f"{len(_AUDITS.reports):02d}-{target.name}"} | options
        _AUDITS.reports[key] = audit(model, data, **options)
    return _AUDITS.reports[key]


def assert_no_link_leak(
    model: Any,
    data: Any = None,
    max_excess: float = 0.1,
    *,
    undecided: Literal["fail", "skip"] = "fail",
    **options: Any,
) -> None:
    """Asserts that no link probe tells training edges better than its strongest control, but for `max_excess`.

    Args:
        model: as `auditor.audit` takes it.
        data: likewise.
        max_excess: share of the strongest control's errors that the model may help to avoid, in [0, 1]; 0.1 is where a
            moderate leak begins.
        undecided: what an interval that spans `max_excess` does: fail, or skip the test.
        **options: of `auditor.audit`.

    Raises:
        AssertionError: an integrity check failed, the model leaks, or the interval cannot tell.
        AuditorError: as `audit` does.
    """
    __tracebackhide__ = True
    others = [probe.id for probe in registry.probes().values() if probe.evaluation != LINKS]
    report = audited(model, data, **{**options, "skip": [*_listed(options.get("skip")), *others]})
    found = {probe: (number, number.excess) for probe, number in _numbers(report).items()}
    _decide(report, found, max_excess, "leaks: {} beyond the control", undecided)


def assert_robust(
    model: Any,
    data: Any = None,
    *,
    max_drop: float,
    eps: float,
    undecided: Literal["fail", "skip"] = "fail",
    **options: Any,
) -> None:
    """Asserts that edits of at most `eps` of the edges cost no more than `max_drop` of the accuracy.

    The drop is counted from the clean accuracy on the same items; its interval is that of the accuracy left.

    Args:
        model: as `auditor.audit` takes it.
        data: likewise.
        max_drop: accuracy that may be lost, in [0, 1].
        eps: share of the edges that may be edited, in (0, 1].
        undecided: what an interval that spans `max_drop` does: fail, or skip the test.
        **options: of `auditor.audit`.

    Raises:
        AssertionError: an integrity check failed, the model falls too far, or the interval cannot tell.
        AuditorError: as `audit` does.
    """
    __tracebackhide__ = True
    probes = [probe for probe in registry.probes().values() if probe.evaluation == EDITS and not probe.defenses]
    only = [registry.canonical_spec(probe.id, {"eps": str(eps)}) for probe in probes]
    report = audited(model, data, **{**options, "only": only})
    found = {probe: (number, _drop(number)) for probe, number in _numbers(report).items()}
    _decide(report, found, max_drop, f"falls: {{}} of accuracy lost to edits of {eps:g} of the edges", undecided)


def _listed(words: Any) -> list[str]:
    return words.split(",") if isinstance(words, str) else list(words or ())


def _numbers(report: Report) -> dict[str, Number]:
    """The headline of every probe that has one."""
    found = {}
    for probe in dict.fromkeys(cell.probe for cell in report.cells):
        try:
            found[probe] = report[probe]
        except ProbeNotRun:
            continue
    return found


def _drop(number: Number) -> Estimate | None:
    """Clean accuracy less what is left, on the same items."""
    from auditor.document import Estimate
    from auditor.document.facts import Robust

    left, facts = number.result.estimate, number.result.facts
    if not isinstance(facts, Robust) or facts.clean.value is None:
        return None
    lost = left.negated()
    value, lo, hi = (None if end is None else facts.clean.value + end for end in (lost.value, lost.lo, lost.hi))
    return Estimate(value=value, lo=lo, hi=hi, n=left.n)


def _decide(
    report: Report,
    found: Mapping[str, tuple[Number, Estimate | None]],
    allowed: float,
    wrong: str,
    undecided: Literal["fail", "skip"],
) -> None:
    """Fails on untrusted or broken cells, then on a number that is proven too large, then on one that may be."""
    __tracebackhide__ = True
    from auditor.policy.trust import trust_of

    name, cells = report.document.target.name, {cell.key: cell for cell in report.cells}
    failed = {row for number, _ in found.values() for row in trust_of(number.result, report.validity, cells).integrity}
    if failed:
        said = "; ".join(f"{row.id}: {row.evidence}" for row in report.validity if row.id in failed)
        raise AssertionError(f"{name} cannot be trusted: {said or ', '.join(sorted(failed))}")
    broken = [cell for cell in report.cells if cell.status in ("error", "timeout")]
    if broken:
        raise AssertionError(f"{name}: {broken[0].probe} broke off: {broken[0].reason}")
    open_: list[str] = []
    for probe, (_, estimate) in found.items():
        lo, hi = (None, None) if estimate is None else (estimate.lo, estimate.hi)
        if estimate is not None and lo is not None and lo > allowed:
            shown = f"{estimate.value:+.3f} [{lo:+.3f}, {'open' if hi is None else f'{hi:+.3f}'}]"
            raise AssertionError(f"{name}, {probe} {wrong.format(shown)}, allowed {allowed:g}")
        if hi is None or hi > allowed:
            interval = f"[{'open' if lo is None else f'{lo:+.3f}'}, {'open' if hi is None else f'{hi:+.3f}'}]"
            open_.append(f"{name}, {probe} cannot tell: {interval} spans {allowed:g}; more seeds or a larger graph")
    if not found:
        reasons = [*dict.fromkeys(cell.reason for cell in report.cells if cell.reason)] or ["the graph is too small"]
        open_.append(f"{name} cannot tell: nothing was judged ({'; '.join(reasons)})")
    if open_ and undecided == "skip":
        raise unittest.SkipTest(open_[0])
    if open_:
        raise AssertionError(open_[0])
