"""What was audited, trained, defended or planned, in words: kind, sizes, accuracy, defence, checks and plan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from auditor.document import NONE, TargetRow, ValidityRow
from auditor.guarantee import Guarantee
from reports.sentences import names
from reports.sentences.numbers import (
    MISSING,
    closed,
    count,
    decimals,
    digits,
    duration,
    interval_cell,
    listed,
    shortest,
    value_cell,
)

PLAN_HEADS: Final = ("test", "seed", "about", "note")
_LISTED = 10


class Fit(Protocol):
    """How a defended target was made; `notes` are plain values that the fit recorded."""

    spec: str
    version: str
    seed: int
    guarantee: Guarantee | None
    validity: Sequence[ValidityRow]
    notes: Mapping[str, Any]


class Planned(Protocol):
    """One test of a plan; `skip` says why it does not apply."""

    spec: str
    seed: int
    estimate_s: float
    skip: str


def kind_and_sizes(target: TargetRow) -> str:
    """Kind, task and sizes in one line; says so where there is no target at all."""
    t = target
    if not t.nodes:
        return f"no target: {t.kind} alone"
    sizes = [count(t.graphs, "graph")] if t.graphs > 1 else []
    sizes += [count(t.nodes, "node"), count(t.edges, "directed edge"), count(t.features, "feature")]
    sizes += [count(t.classes, "class")]
    return f"{t.kind}, {t.task.level} classification · " + ", ".join(sizes)


def accuracy(target: TargetRow) -> str:
    """Accuracy without any attack, beside the constant predictor; empty when it was not measured."""
    clean, constant = target.clean, target.constant_predictor
    if clean is None or clean.value is None:
        return ""
    text = f"test accuracy {value_cell(clean.value, 'share')}"
    text += f" ({interval_cell(clean, 'share')})" if clean.has_interval else ""
    text += f" on {count(clean.n, 'item')}" if clean.n else ""
    return text if constant is None else f"{text}, always the commonest class {value_cell(constant, 'share')}"


def unused(target: TargetRow) -> str:
    """What lies in the data and never reaches the model, so that no number speaks of it; empty for nothing."""
    names_of = target.provenance.get("call", {}).get("not_used", ())
    return f"in the data but not used by forward: {', '.join(names_of)}" if names_of else ""


def defended(target: TargetRow) -> list[str]:
    """What defended the target, its guarantee and that guarantee's caveats, a line each; none for a bare target."""
    if target.defense == NONE:
        return []
    given = target.guarantee
    if given is None:
        return [f"defended by {target.defense}: no formal guarantee"]
    return [f"defended by {target.defense}: {given.headline()}", *(f"caveat: {text}" for text in given.caveats)]


def facts(target: TargetRow) -> list[str]:
    """Kind and sizes, accuracy, and what defended it, a line each."""
    return [text for text in (kind_and_sizes(target), accuracy(target), unused(target), *defended(target)) if text]


def trained(target: TargetRow) -> list[str]:
    """Accuracy of a target that was just made, and the split behind it."""
    split = target.split
    drawn = "" if split["seed"] is None else f" (seed {split['seed']})"
    sizes = listed([f"{digits(split[part])} {word}" for part, word in _PARTS.items()])
    return [
        f"{target.name}: {accuracy(target) or 'accuracy was not measured'}",
        f"split {split['spec']}{drawn}: {sizes}",
    ]


def fitted(before: TargetRow, after: TargetRow, fit: Fit) -> list[str]:
    """A defended target beside the one it was made from, and what its fit promises, checked and recorded."""
    was, now = trained(before), trained(after)
    rows = [row for row in fit.validity if row.status in ("warn", "fail")]
    checked = f"{passed(fit.validity)}. " if fit.validity else ""
    return [
        f"{after.name} is made: {checked}{_right(before, after)}",
        *(closed(f"{names.checks([row.id])} {names.CHECKS[row.status]}: {row.evidence}") for row in rows),
        f"before {was[0]}",
        f"after {now[0]}",
        *now[1:],
        *defended(after),
        f"version {fit.version}, seed {fit.seed}",
        *(f"{names.CHECKS[row.status]} {names.check(row.id)}: {row.evidence}" for row in fit.validity),
        *(f"{name.replace('_', ' ')}: {_plain(value)}" for name, value in fit.notes.items()),
    ]


def called(target: TargetRow) -> str:
    """How the model is called: a wrong call is a wrong number; empty where that was not recorded."""
    return str(target.provenance.get("call", {}).get("forward") or "")


def _right(before: TargetRow, after: TargetRow) -> str:
    """`Test accuracy 80.8 %, 81.0 % before`, as a sentence."""
    was, now = (None if row.clean is None else row.clean.value for row in (before, after))
    return closed(f"test accuracy {value_cell(now, 'share')}, {value_cell(was, 'share')} before")


def offers(target: TargetRow) -> str:
    """What the model lets others do, and the digest of its content."""
    return f"offers {listed(target.capabilities)} · digest {target.digest[:12]}"


def passed(checks: Sequence[ValidityRow]) -> str:
    """`12 of 13 checks passed, 1 warns`."""
    statuses = [row.status for row in checks]
    parts = [f"{digits(statuses.count('pass'))} of {count(len(checks), 'check')} passed"]
    warns = "warns" if statuses.count("warn") == 1 else "warn"
    for status, word in (("warn", warns), ("fail", "failed"), ("not_checked", "not checked")):
        parts += [f"{digits(statuses.count(status))} {word}"] if status in statuses else []
    return ", ".join(parts)


def auditable(target: TargetRow, checks: Sequence[ValidityRow], failed: Sequence[str]) -> str:
    """`demo-gcn can be audited: 12 of 13 checks passed, 1 warns`."""
    return f"{target.name} {'cannot' if failed else 'can'} be audited: {passed(checks)}."


def skipped(plan: Sequence[Planned]) -> list[str]:
    """Tests that do not apply, each reason once."""
    reasons: dict[str, list[str]] = {}
    for cell in plan:
        if cell.skip and cell.spec not in reasons.setdefault(cell.skip, []):
            reasons[cell.skip].append(cell.spec)
    return [closed(f"{listed(specs)} would not run: {reason}") for reason, specs in reasons.items()]


def plan_cells(planned: Planned) -> tuple[str, ...]:
    """One test under `PLAN_HEADS`."""
    about = MISSING if planned.skip else duration(planned.estimate_s)
    return planned.spec, str(planned.seed), about, planned.skip or "planned"


def plan(cells: Sequence[Planned], jobs: int = 1, groups: int = 0) -> str:
    """How much of the plan would run, for how long, in how many processes, in how many groups that share trainings."""
    able = [cell for cell in cells if not cell.skip]
    seconds = duration(sum(cell.estimate_s for cell in able))
    ran = f"{digits(len(able))} of {count(len(cells), 'test')} would run"
    shared = f", shared by {count(jobs, 'process')}" if jobs > 1 else ""
    shared = f"{shared}, in {count(groups, 'group')}" if groups else shared
    return closed(f"{ran}, about {seconds} of CPU time on a graph of 3,000 nodes{shared}")


_PARTS = {"train": "training", "val": "validation", "test": "test"}


def _plain(value: Any) -> str:
    """A value that a fit recorded."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return shortest(value, most=decimals([value], [0.0], least=3, most=9))
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_plain(part)}" for name, part in value.items())
    if isinstance(value, list | tuple):
        is_long = len(value) > _LISTED or any(isinstance(part, Mapping) for part in value)
        return count(len(value), "entry") if is_long else listed([_plain(part) for part in value]) or "none"
    return MISSING if value is None else str(value)
