"""One audit through the program's public face, and what is read from its document: claims and fails.

A *claim* is a judged number whose excess is above 0 for certain: the lower end of its interval, widened over all
numbers that were judged in the run (Bonferroni), is above 0. A *fail* is a judgement of that status. A number
*crosses* when its lower end reaches the threshold it is judged against, whatever the checks of the target say: a model
that ignores its edges fails a check, its results are then not trusted, and "no fail" alone would say nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

import auditor
from auditor.document import Result
from auditor.policy.bands import reaches
from auditor.policy.bounds import widened
from benchmarks.trust.graphs import Drawn
from benchmarks.trust.settings import POLICY, PROBES


@dataclass(frozen=True, slots=True)
class Row:
    """One judged number of a run.

    Attributes:
        probe, metric, subset: what it is.
        excess: its excess beyond the control.
        lo: lower end of that, widened over the run; None where it is open or nothing was measured.
        claim: see the module.
        status: of its judgement.
        crosses: see the module.
    """

    probe: str
    metric: str
    subset: str
    excess: float | None
    lo: float | None
    claim: bool
    status: str
    crosses: bool

    @property
    def said(self) -> str:
        """In one line."""
        if self.excess is None:
            return f"{self.probe} {self.metric}: not measured"
        lo = "open" if self.lo is None else f"{self.lo:+.3f}"
        return f"{self.probe} {self.metric} {self.excess:+.3f} (lower end {lo}), {self.status}"


@dataclass(frozen=True, slots=True)
class Asked:
    """What is handed to `auditor.audit`, and the probes that it is asked for."""

    model: nn.Module
    graph: Drawn
    split: Mapping[str, Tensor]
    build: Callable[[], nn.Module]
    recipe: Mapping[str, Any]
    probes: Sequence[str] = PROBES


def judged(asked: Sequence[Asked], profile: str, *, retrain: bool = True) -> list[Row]:
    """The judged numbers of one run, which may take several audits.

    Args:
        asked: the audits.
        profile: `quick`, `standard` or `full`.
        retrain: whether the audit may train twins; without, it is given the model alone.
    """
    results: list[Result] = []
    for one in asked:
        report = auditor.audit(
            one.model,
            one.graph.data,
            split=one.split,
            only=one.probes,
            profile=profile,
            policy=POLICY,
            threads=1,
            build=one.build if retrain else None,
            recipe=one.recipe if retrain else None,
        )
        broken = [cell for cell in report.cells if cell.status not in ("ok", "skipped")]
        if broken:
            raise RuntimeError(f"{broken[0].probe} did not end: {broken[0].status}, {broken[0].reason}")
        results += [result for result in report.findings if result.probe.partition(":")[0] in one.probes]
    return [row_of(result, len(results)) for result in results]


def row_of(result: Result, together: int) -> Row:
    """A judged result as a row; `together` numbers were judged in its run."""
    assert result.judgement is not None
    excess, judgement = result.excess, result.judgement
    value = None if excess is None else excess.value
    lo = near = None
    if excess is not None and value is not None and excess.lo is not None:
        hi = float("inf") if excess.hi is None else excess.hi
        near = excess.lo
        lo, _ = widened(value, near, hi, max(together, 1), averaged=result.averaged)
    t = judgement.threshold
    beyond = lo if t == 0 else near
    return Row(
        result.probe,
        result.metric,
        result.subset,
        value,
        lo,
        claim=lo is not None and reaches(lo, 0.0),
        status=judgement.status,
        crosses=t is not None and beyond is not None and reaches(beyond, t),
    )
