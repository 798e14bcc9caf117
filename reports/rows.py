"""What every format shows, in one order: judged rows, answers per family, what was not tested, what to do next.

Nothing is measured or judged here: seeds are joined as the policy joined them, all else is read off the document.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from auditor.audit import Advantage, Audit, CellRow, Control, Finding, Interval, Series, ValidityRow
from auditor.joined import Joined, join_cells
from auditor.taxonomy import advice_of
from reports.neutral import neutral
from reports.words import FAMILIES, QUESTIONS, TITLES, advantage, control, counted, interval, measured, number

SEVERITIES = ("none", "low", "medium", "high", "critical")
_STATUS_ORDER = ("fail", "inconclusive", "accepted", "pass")


@dataclass(frozen=True, slots=True)
class Row:
    """One number joined over seeds, with its judgement where it was judged.

    Attributes:
        family, probe, defense, measurement, subset, finding_id, access: where it comes from.
        value, ci, control, advantage: the numbers, joined over seeds.
        n: items behind one seed's number.
        seeds: how many seeds.
        text: the sentence for people.
        finding: the judgement; None for a measurement that is shown and not judged.
    """

    family: str
    probe: str
    defense: str
    measurement: str
    subset: str
    finding_id: str
    access: tuple[str, ...]
    value: float | None
    ci: Interval | None
    control: Control | None
    controls: tuple[Control, ...]
    advantage: Advantage | None
    n: int | None
    seeds: int
    text: str
    finding: Finding | None = None

    @property
    def status(self) -> str:
        """Status word; `shown` for what is not judged."""
        return self.finding.status if self.finding else "shown"

    @property
    def is_quiet(self) -> bool:
        """A pass with nothing proven: it may be left out where space is short."""
        return self.finding is not None and self.finding.status == "pass" and self.finding.severity == "none"

    @property
    def source(self) -> str:
        """Probe, and the defence it was run on."""
        return self.probe if self.defense == "none" else f"{self.probe} on {self.defense}"


@dataclass(frozen=True, slots=True)
class Answer:
    """One of the questions, answered by the worst judged row of its family."""

    family: str
    title: str
    question: str
    status: str
    text: str
    row: Row | None


@dataclass(frozen=True, slots=True)
class Gap:
    """Something that was asked for and gave no number."""

    probe: str
    family: str
    status: str
    reason: str
    defense: str
    seeds: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """One series to draw, and the seeds whose like is left to `audit.json`."""

    family: str
    probe: str
    defense: str
    seed: int
    other_seeds: tuple[int, ...]
    series: Series


@dataclass(frozen=True, slots=True)
class Reading:
    """An audit made ready for people: text neutralised, seeds joined once.

    Attributes:
        audit: the document with every string neutralised.
        judged: every finding with the numbers behind it, worst first.
        others: every measurement that no finding judges, in document order.
    """

    audit: Audit
    judged: tuple[Row, ...]
    others: tuple[Row, ...]

    @classmethod
    def of(cls, audit: Audit) -> Reading:
        """The one way from a document to what a format may show."""
        safe = neutral(audit)
        joined = {_place(j.finding, j.defense, j.probe, j.name, j.subset): j for j in join_cells(safe.cells, "")}
        cells = {cell.key: cell for cell in safe.cells}
        judged = []
        for f in safe.findings:
            place = _place(f.id, f.defense, f.probe, f.measurement, f.subset)
            judged.append(_from_finding(f, cells[f.cells[0]], joined.pop(place, None)))
        others = tuple(_from_joined(j) for j in joined.values())
        return cls(safe, tuple(sorted(judged, key=_worst_first)), others)

    @property
    def undefended(self) -> tuple[Row, ...]:
        """Judged rows that the answers rest on: all, but in a comparison only those of the undefended target."""
        return self.judged if self.audit.matrix is None else tuple(row for row in self.judged if row.defense == "none")

    def judged_in(self, family: str) -> list[Row]:
        """Judged rows of one family, worst first."""
        return [row for row in self.judged if row.family == family]

    def others_in(self, family: str) -> list[Row]:
        """Rows of one family that are shown and not judged."""
        return [row for row in self.others if row.family == family]


def families(audit: Audit) -> tuple[str, ...]:
    """Families of the document: the three questions first, others in the order they appear."""
    return tuple(dict.fromkeys((*FAMILIES, *(cell.family for cell in audit.cells))))


def answers(reading: Reading) -> list[Answer]:
    """The three questions of an audit, asked or not; in a comparison they are about the undefended target.

    The audit of a claim asks one question of its own.
    """
    return [_answer(reading, family) for family in (("dp",) if is_claim(reading.audit) else FAMILIES)]


def is_claim(audit: Audit) -> bool:
    """Whether the document is the audit of a claimed (epsilon, delta)."""
    return bool(audit.cells) and all(cell.probe == "dp-claim" for cell in audit.cells)


def gaps(audit: Audit) -> list[Gap]:
    """Cells that were skipped, crashed or timed out, equal reasons of several seeds in one line."""
    found: dict[tuple[str, str, str, str, str], list[int]] = {}
    for cell in audit.cells:
        if cell.status != "ok":
            name = cell.probe if cell.defense == "none" else f"{cell.probe} on {cell.defense}"
            reason = cell.reason or "no reason given"
            found.setdefault((name, cell.family, cell.status, reason, cell.defense), []).append(cell.seed)
    return [Gap(*key, seeds=tuple(seeds)) for key, seeds in found.items()]


def listed_gaps(audit: Audit) -> list[Gap]:
    """The gaps as they are listed: in a comparison one line for all arms that share probe, status and reason."""
    if audit.matrix is None:
        return gaps(audit)
    found: dict[tuple[str, str, str], list[Gap]] = {}
    for gap in gaps(audit):
        own = gap.probe if gap.defense == "none" else gap.probe.removesuffix(f" on {gap.defense}")
        found.setdefault((own, gap.status, gap.reason), []).append(gap)
    return [
        first if not more else replace(first, probe=f"{own} on {', '.join(gap.defense for gap in (first, *more))}")
        for (own, _, _), (first, *more) in found.items()
    ]


def charts(audit: Audit, family: str) -> list[Chart]:
    """The series of the first seed of each probe and defence."""
    found: dict[tuple[str, str, str], list[tuple[CellRow, Series]]] = {}
    for cell in audit.cells:
        if cell.status == "ok" and cell.family == family:
            for series in cell.series:
                found.setdefault((cell.probe, cell.defense, series.id), []).append((cell, series))
    return [
        Chart(family, probe, defense, pairs[0][0].seed, tuple(cell.seed for cell, _ in pairs[1:]), pairs[0][1])
        for (probe, defense, _), pairs in found.items()
    ]


def next_steps(reading: Reading) -> list[tuple[str, tuple[str, ...]]]:
    """What to do, worst first: advice, and the finding ids it answers; in a comparison for the undefended target."""
    steps: dict[str, list[str]] = {}
    for row in reading.undefended:
        if row.status == "fail" or (row.status == "inconclusive" and not row.is_quiet):
            advice = advice_of(row.finding_id)
            if row.status == "inconclusive":
                is_claim_open = row.finding is not None and row.finding.scale == "claim"
                more = "more canaries or runs" if is_claim_open else "more items, more seeds or profile full"
                advice = f"Settle what is open: {more} (each row says how many)."
                if row.finding is not None and row.finding.measurement == "epsilon_recomputed":
                    advice = (
                        "Audit a run as well (--defense, --train or --scores): arithmetic says nothing of the code."
                    )
            if advice and row.finding_id not in steps.setdefault(advice, []):
                steps[advice].append(row.finding_id)
    if any(gap.status in ("error", "timeout") for gap in gaps(reading.audit)):
        steps["Find out why probes crashed or timed out; until they run, a pass is not proven."] = []
    if any(row.status == "fail" for row in validity(reading.audit)):
        steps["Mend the failed checks under “Can this audit be trusted?” and run the audit again."] = []
    return [(advice, tuple(ids)) for advice, ids in steps.items()]


def validity(audit: Audit) -> list[ValidityRow]:
    """Validity rows of the document and of its cells, failed ones first, repeated ones once.

    Seeds and arms have the same checks: rows that differ in their evidence only become one, and say so.
    """
    rows = dict.fromkeys(
        (row.id, row.kind, row.status, row.evidence, row.touches)
        for row in (*audit.validity, *(row for cell in audit.cells for row in cell.validity))
    )
    order = ("fail", "warn", "not_checked", "pass")
    listed = [ValidityRow(id=i, kind=k, status=s, evidence=e, touches=t) for i, k, s, e, t in rows]
    return sorted(_alike(listed), key=lambda row: order.index(row.status))


def _alike(rows: list[ValidityRow]) -> list[ValidityRow]:
    groups: dict[tuple[str, str, tuple[str, ...]], list[ValidityRow]] = {}
    for row in rows:
        groups.setdefault((row.id, row.status, row.touches), []).append(row)
    return [
        first.model_copy(update={"evidence": f"{first.evidence} (and {counted(len(more), 'like row')})"})
        if more
        else first
        for first, *more in groups.values()
    ]


def headline(audit: Audit) -> str:
    """The verdict's line without its status word."""
    status, lines = audit.verdict.status, audit.verdict.lines
    if lines:
        return lines[0].removeprefix(status).strip(" ·")
    failing = sum(finding.status == "fail" for finding in audit.findings)
    return f"{counted(failing, 'finding')} at or above {audit.verdict.fail_on} · {coverage(audit)}"


def verdict_lines(audit: Audit) -> list[str]:
    """The verdict's further lines, without those that only repeat a cell of `gaps`."""
    told = [(gap.probe, gap.reason) for gap in gaps(audit)]
    return [
        line for line in audit.verdict.lines[1:] if not any(probe in line and reason in line for probe, reason in told)
    ]


def coverage(audit: Audit) -> str:
    """`40 of 41 cells gave a result · 1 skipped`."""
    c = audit.coverage
    parts = [f"{c.ok} of {counted(c.planned, 'planned cell')} gave a result"]
    parts += [
        f"{count} {word}"
        for word, count in (("skipped", c.skipped), ("crashed", c.error), ("timed out", c.timeout))
        if count
    ]
    absent = c.planned - c.ok - c.skipped - c.error - c.timeout
    return " · ".join(parts + ([f"{absent} never started or finished"] if absent > 0 else []))


def target_facts(audit: Audit) -> str:
    """Kind, task and sizes of the target in one line."""
    t = audit.target
    if not t.nodes:
        return f"no target: {t.kind} alone" if is_claim(audit) else ""
    sizes = [counted(t.graphs, "graph")] if t.graphs > 1 else []
    sizes += [counted(t.nodes, "node"), counted(t.edges, "directed edge"), counted(t.features, "feature")]
    sizes += [f"{t.classes} classes"]
    return f"{t.kind}, {t.task} classification · " + ", ".join(sizes)


def defense_facts(audit: Audit) -> list[str]:
    """What defended the target, its guarantee and that guarantee's caveats, a line each; none for a bare target."""
    if audit.target.defense == "none":
        return []
    given = next((c.guarantee for c in audit.cells if c.defense == "none" and c.guarantee is not None), None)
    if given is None:
        return [f"defended by {audit.target.defense}: no formal guarantee"]
    return [f"defended by {audit.target.defense}: {given.headline()}", *(f"caveat: {text}" for text in given.caveats)]


def clean_facts(audit: Audit) -> str:
    """Accuracy without any attack, beside the constant predictor; empty when it was not measured."""
    clean = audit.target.clean
    value = clean.get("accuracy")
    if not isinstance(value, int | float):
        return ""
    text = f"test accuracy {number(value)}"
    ci = clean.get("ci")
    if isinstance(ci, list | tuple) and len(ci) == 2:
        text += " " + interval(Interval(lo=ci[0], hi=ci[1]))
    n, constant = clean.get("n"), clean.get("constant_predictor")
    text += f" on {n:,} items" if isinstance(n, int) else ""
    return text + (f", always the commonest class {number(constant)}" if isinstance(constant, int | float) else "")


def _answer(reading: Reading, family: str) -> Answer:
    rows = [row for row in reading.undefended if row.family == family]
    if rows:
        worst = rows[0]
        return Answer(family, TITLES[family], QUESTIONS[family], worst.status, worst.text, worst)
    others = () if reading.audit.matrix is None else {cell.defense for cell in reading.audit.cells} - {"none"}
    cells = [cell for cell in reading.audit.cells if cell.family == family and cell.defense not in others]
    missing = [gap for gap in gaps(reading.audit) if gap.family == family and gap.defense not in others]
    if missing:
        text = "Not answered: " + "; ".join(f"{gap.probe} {gap.status}: {gap.reason}" for gap in missing[:3])
    elif cells:
        text = "Measured, not judged: no number of this family is one that the policy judges."
    else:
        text = "Not asked: no probe of this family was in this run."
    return Answer(family, TITLES[family], QUESTIONS[family], "not tested" if not cells else "no answer", text, None)


def _from_finding(finding: Finding, cell: CellRow, joined: Joined | None) -> Row:
    return Row(
        family=cell.family,
        probe=finding.probe,
        defense=finding.defense,
        measurement=finding.measurement,
        subset=finding.subset,
        finding_id=finding.id,
        access=finding.access,
        value=finding.value,
        ci=finding.ci,
        control=finding.control,
        controls=() if joined is None else joined.rows[0].controls,
        advantage=finding.advantage,
        n=None if joined is None else joined.n,
        seeds=len(finding.cells),
        text=finding.reason,
        finding=finding,
    )


def _from_joined(joined: Joined) -> Row:
    return Row(
        family=joined.family,
        probe=joined.probe,
        defense=joined.defense,
        measurement=joined.name,
        subset=joined.subset,
        finding_id=joined.finding,
        access=joined.access,
        value=joined.value,
        ci=joined.ci,
        control=joined.control,
        controls=joined.rows[0].controls,
        advantage=joined.advantage,
        n=joined.n,
        seeds=joined.seeds,
        text=joined.text,
    )


def sentence(row: Row) -> str:
    """The row's own sentence, or its numbers in words."""
    if row.text:
        return row.text
    text = f"{row.source}: {measured(row.measurement, row.subset)} is {number(row.value)} {interval(row.ci)}".rstrip()
    if row.control is not None:
        text += f" beside {control(row.control)}: {advantage(row.advantage)}"
    return text


def _place(*words: str) -> tuple[str, ...]:
    return words


def _worst_first(row: Row) -> tuple[int, int, int, float]:
    finding = row.finding
    if finding is None:
        return len(_STATUS_ORDER), 0, 0, 0.0
    found = None if row.advantage is None else row.advantage.value
    return (
        _STATUS_ORDER.index(finding.status),
        -SEVERITIES.index(finding.severity),
        -SEVERITIES.index(finding.severity_upper),
        float("inf") if found is None else -found,
    )
