"""Hand-made cells of a comparison and the comparison made from them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from auditor.compare.arms import Arms, DefenseRequest
from auditor.compare.matrix import comparison_of
from auditor.compare.pairing import Compared
from auditor.document import Arm, CellRow, Control, Estimate, Measured, Metric, measured
from auditor.runner.finished import Finished
from auditor.runner.joining import results_of


def number(metric: Metric, value: float, control: float | None = None, *, finding: str = "f", **more) -> Measured:
    """A number with an interval of a point to each side, and its contrast to a control where there is one."""

    def about(middle: float) -> Estimate:
        return Estimate(value=middle, lo=middle - 0.01, hi=min(middle + 0.01, 1.0), n=100)

    beside = [] if control is None else [Control(name="c", estimate=about(control), contrast=about(value - control))]
    return measured(metric, about(value), finding=finding, controls=beside, **more)


def cell(probe: str, family: str, arm: str, seed: int, *numbers: Measured, status="ok", **more) -> Finished:
    """One finished cell."""
    row = CellRow(key=f"{probe} {arm} {seed}", probe=probe, family=family, arm=arm, seed=seed, status=status, **more)
    return Finished(row, ("graph",), numbers)


def compared(
    defenses: Sequence[DefenseRequest], cells: Iterable[Finished], seeds: Sequence[int], arms: Arms | None = None
) -> dict[str, Arm]:
    """The arms of the comparison, by name."""
    done = list(cells)
    rows, results = [each.row for each in done], results_of(done, "target")
    found = comparison_of(Compared(defenses, arms or Arms(), rows, results, seeds, constant=0.5))
    assert found.seeds == tuple(seeds)
    return {arm.arm: arm for arm in found.arms}
