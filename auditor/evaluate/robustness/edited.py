"""Numbers of edits that are no flips of edges (features, added nodes): accuracy left, beside random edits like them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from torch import Tensor

from auditor.data.feature_space import Kind
from auditor.document import Control, Curve, Estimate, Measured, Series, ValidityRow, measured
from auditor.document.facts import EditedData
from auditor.errors import SkippedError
from auditor.evaluate.robustness import trust
from auditor.evaluate.robustness.envelope import Floats, Point, Tried, edits_of, envelope
from auditor.evaluate.robustness.flip_claims import FlipClaims
from auditor.evaluate.robustness.measure import ROBUST_ACCURACY
from auditor.evaluate.robustness.verification import Verified
from auditor.probe import Attempt, Cell, CellResult, Registered
from auditor.statistics.intervals import paired_bootstrap, wilson
from auditor.statistics.shares import share
from auditor.targets.target import Target


@dataclass(frozen=True, slots=True, eq=False)
class Amount:
    """One budget.

    Attributes:
        subset: how measurements name it (`ones=0.01`).
        at: where it stands on the curve.
        budget: what attacks are asked for.
        item_budgets: of many graphs what is allowed in each attacked one, int64 [n]; its sum is the budget.
    """

    subset: str
    at: float
    budget: float
    item_budgets: Tensor | None = None


def places(amounts: Sequence[Amount]) -> dict[float, int]:
    """The place of each budget, the first one where several come to the same."""
    return {amount.budget: place for place, amount in reversed(list(enumerate(amounts)))}


def asked_of(attempt: Attempt, amounts: Sequence[Amount]) -> Attempt:
    """The attempt with these budgets, those of each graph among them."""
    distinct = [amounts[place] for _, place in sorted(places(amounts).items())]
    own = tuple(each.item_budgets for each in distinct if each.item_budgets is not None)
    return replace(attempt, budgets=tuple(int(each.budget) for each in distinct), item_budgets=own)


@dataclass(frozen=True, slots=True)
class Edits:
    """What was edited, for facts and charts.

    Attributes:
        what: `bits` toggled, `categories` changed, `values` moved, or `nodes` added.
        title, x_label: of the chart.
        main: where the budget stands that is judged, or the one nearest to it.
        edges: of each added node; None for edits of features.
        alike: whether added nodes had to be like their neighbours.
    """

    what: Kind | Literal["nodes"]
    title: str
    x_label: str
    main: float
    edges: int | None = None
    alike: bool = False


def edited_result(
    cell: Cell,
    run: FlipClaims,
    tried: Sequence[Tried],
    clean: Verified,
    amounts: Sequence[Amount],
    edits: Edits,
    params: Mapping[str, Any],
) -> CellResult:
    """What the attacks of a cell left, measured: accuracy at each budget, the chart, the checks, the edits themselves.

    Args:
        cell: its target, attacks and random streams.
        run: what became of its attacks.
        tried: every verified edit.
        clean: nothing edited.
        amounts: the budgets, ascending.
        edits: what was edited.
        params: what else the document keeps.

    Raises:
        SkippedError: no search could run.
    """
    if not any(a.entry.role == "search" and a.id not in run.skipped for a in cell.attacks):
        raise SkippedError(run.why_none)
    nearest = min(range(len(amounts)), key=lambda k: abs(amounts[k].at - edits.main))
    many = cell.target.task.level == "graph"
    found = EditedItems.of(clean, tried, amounts, cell.attacks, nearest, many=many)
    return CellResult(
        access=tuple(sorted(run.access)),
        measured=found.numbers(cell, edits),
        series=(found.series(cell.probe.id, edits),),
        validity=found.rows(cell, run, cell.target),
        params={
            **params,
            "targets": found.n,
            "budgets": {amount.subset: amount.budget for amount in amounts},
            **run.params(cell.attacks),
        },
        edits=edits_of(cell.target.graph, tried),
    )


@dataclass(frozen=True, slots=True, eq=False)
class EditedItems:
    """Everything verified about one probe on one target.

    Attributes:
        amounts: the budgets, ascending.
        points: the envelope with no edit, then at each budget.
        tried: every verified edit.
        control: id of the control; empty where none ran.
        random: at each budget, the share of its draws in which each item is right, [n]; None where it did not run.
        main: place of the budget that is judged.
        many: whether each item is a graph with a budget of its own.
    """

    amounts: tuple[Amount, ...]
    points: tuple[Point, ...]
    tried: tuple[Tried, ...]
    control: str
    random: tuple[Floats | None, ...]
    main: int
    many: bool

    @classmethod
    def of(
        cls,
        clean: Verified,
        tried: Sequence[Tried],
        amounts: Sequence[Amount],
        attacks: Sequence[Registered],
        main: int,
        *,
        many: bool,
    ) -> EditedItems:
        """The worst case over every attack but the control, of many graphs that of each; the mean of its draws."""
        control = next((a.id for a in attacks if a.entry.role == "control"), "")
        others = [each for each in tried if each.role != "control"]
        first = places(amounts)
        means: list[Floats | None] = []
        for amount in amounts:
            place = first[amount.budget]
            own = [each.verified.correct for each in tried if each.role == "control" and each.level == place]
            means.append(np.mean(own, axis=0).astype(np.float64) if own else None)
        points = envelope(clean, others, len(amounts), per_item=many)
        return cls(tuple(amounts), tuple(points), tuple(tried), control, tuple(means), main, many)

    @property
    def n(self) -> int:
        """Attacked items."""
        return len(self.points[0].correct)

    def numbers(self, cell: Cell, edits: Edits) -> tuple[Measured, ...]:
        """`robust_accuracy` at each budget."""
        clean, rng = share(self.points[0].correct), cell.rng("bootstrap")
        rows = []
        for i, amount in enumerate(self.amounts):
            right = self.points[i + 1].correct
            attacked, random, mean = share(right), None, self.random[i]
            controls = []
            if mean is not None:
                difference = right.astype(np.float64) - mean
                bounds = paired_bootstrap(lambda w, d=difference: float(w @ d / w.sum()), self.n, rng=rng)  # type: ignore[misc]
                random = _held(float(mean.mean()), wilson(float(mean.sum()), self.n), self.n)
                contrast = _held(float(difference.mean()), bounds, self.n)
                controls.append(Control(name=self.control, estimate=random, contrast=contrast))
            rows.append(
                measured(
                    ROBUST_ACCURACY,
                    attacked,
                    finding=cell.probe.findings[0],
                    subset=amount.subset,
                    controls=controls,
                    judged=i == self.main,
                    facts=self._facts(i, edits, clean, attacked, random),
                )
            )
        return tuple(rows)

    def _facts(self, i: int, edits: Edits, clean: Estimate, attacked: Estimate, random: Estimate | None) -> EditedData:
        """Of the budget at a place."""
        winner, budget, moved = self.points[i + 1].winner, self.amounts[i].budget, edits.what == "values"
        return EditedData(
            what=edits.what,
            clean=clean,
            attacked=attacked,
            random=random,
            edits=winner.flips,
            budget=0 if moved else int(budget),
            radius=budget if moved else None,
            edges=edits.edges,
            alike=edits.alike,
            per_graph=self.many,
            attacked_items=self.n,
            winner=winner.name,
            attempts={each.name: each.verified.accuracy for each in self._tried_at(i)},
        )

    def _tried_at(self, i: int) -> list[Tried]:
        """Everything tried at the budget at a place."""
        first = places(self.amounts)[self.amounts[i].budget]
        return [each for each in self.tried if each.level == first]

    def series(self, probe: str, edits: Edits) -> Series:
        """Accuracy against budget, the control beside it."""
        xs = (0.0, *(amount.at for amount in self.amounts))
        bands = [share(point.correct) for point in self.points]
        curves = [
            Curve(
                name="worst of all attacks",
                role="worst",
                x=xs,
                y=tuple(each.value for each in bands),
                lo=tuple(each.lo for each in bands),
                hi=tuple(each.hi for each in bands),
                labels=tuple(point.winner.name for point in self.points),
            )
        ]
        there = [
            (a.at, float(mean.mean())) for a, mean in zip(self.amounts, self.random, strict=True) if mean is not None
        ]
        if there:
            beside_x, beside_y = zip(*there, strict=True)
            clean = self.points[0].accuracy
            curves.append(Curve(name=self.control, role="control", x=(0.0, *beside_x), y=(clean, *beside_y)))
        return Series(
            id=f"{probe}-budget",
            kind="budget",
            title=edits.title,
            x_label=edits.x_label,
            y_label="accuracy",
            curves=tuple(curves),
        )

    def rows(self, cell: Cell, run: FlipClaims, target: Target) -> tuple[ValidityRow, ...]:
        """Whether the numbers can be trusted: rules kept, claims true, the search worth more than its control."""
        searched = [[each for each in self._tried_at(k) if each.role == "search"] for k in range(len(self.amounts))]
        tested, y = target.split.test, target.graph.y
        rows = [
            run.budget_row(),
            trust.finite_row([self.points[0].winner, *self.tried]),
            trust.claim_row(self.tried),
            trust.random_wins_row(self.random, searched, cell.rng("random-wins")),
            trust.fragile_row(searched, self.points[1:]),
            trust.nothing_to_lose_row(
                target.task.correct(target.clean_logits(), y)[tested].numpy(), target.task.constant_quality(y[tested])
            ),
            trust.underpowered_row(self.n),
        ]
        drop = self.points[0].accuracy - self.points[-1].accuracy
        rows += [trust.loss_moves_row(notes, drop) for notes in run.notes.values()]
        return tuple(row for row in rows if row is not None)


def _held(value: float, bounds: tuple[float, float], n: int) -> Estimate:
    """An estimate whose interval is widened, where rounding asks for it, to hold it."""
    return Estimate(value=value, lo=min(bounds[0], value), hi=max(bounds[1], value), n=n)
