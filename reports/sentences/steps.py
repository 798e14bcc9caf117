"""What to do next: what results over their limits ask for, what would settle open ones, what must be mended.

A step that is a command says so with this target's own path, what it costs, and the command that verifies it.
"""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from auditor.document import NONE, Audit, Result
from auditor.document.codes import NotSeparable, Settle
from auditor.document.facts import ClaimFacts
from reports.sentences import names
from reports.sentences.briefs import Remedy
from reports.sentences.claim import ADVICE
from reports.sentences.codes import ways
from reports.sentences.compose import OPEN, OVER, SEEN, is_found, word
from reports.sentences.numbers import closed, listed
from reports.sentences.templates import figure, first, remedies, template

RUN_ONE: Final = "Audit a run as well (--defense, --train or --scores): arithmetic says nothing of the code."
RECIPE_WANTED: Final = (
    "Give the model's training recipe and audit again: a twin tells a leak from degrees and features."
)
MORE_CANARIES: Final = "Settle what is open: more canaries or runs."
BROKEN: Final = "Find out why tests broke off; until they run, nothing is shown by a pass."
MEND: Final = "Mend the failed checks and run the audit again."
TARGET_FILE: Final = "target.toml"
SHOWN: Final = 3
"""Steps that a report names; nobody does more at once."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to do.

    Attributes:
        text: a sentence.
        cost: what it takes and what it changes, a sentence; empty where that is not known.
        commands: to type, in this order; the last one verifies.
        findings: what it answers.
    """

    text: str
    cost: str = ""
    commands: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()


def steps(audit: Audit, results: Iterable[Result]) -> list[Step]:
    """What to do, in the order of the results; equal advice once.

    What only settles comes behind it, and last what next to nothing would mend and no limit asks for.
    """
    item, results = names.items(audit.target.task.level), list(results)
    found: dict[str, Step] = {}
    last: dict[str, Step] = {}
    for result in results:
        step = _repairing(audit, result, item)
        if step is not None:
            kept = last if word(result) == SEEN else found
            before = kept.get(step.text, step)
            kept[step.text] = replace(before, findings=tuple(dict.fromkeys((*before.findings, *step.findings))))
    done = list(found.values())
    if any(cell.status in ("error", "timeout") for cell in audit.cells):
        done.append(Step(BROKEN))
    checks = (*audit.validity, *(row for cell in audit.cells for row in cell.validity))
    if any(row.status == "fail" for row in checks):
        done.append(Step(MEND))
    return _once([*done, *_settling(audit, results, item), *last.values()])


def _once(found: Iterable[Step]) -> list[Step]:
    """Steps of equal commands are one, in the words of the first."""
    kept: dict[tuple[str, ...] | str, Step] = {}
    for step in found:
        before = kept.setdefault(step.commands or step.text, step)
        kept[step.commands or step.text] = replace(
            before, findings=tuple(dict.fromkeys((*before.findings, *step.findings)))
        )
    return list(kept.values())


def _repairing(audit: Audit, result: Result, item: str) -> Step | None:
    """What lowers a result that is over its limit, or proven and open; one within it, where that is next to nothing."""
    amount = word(result)
    if isinstance(result.facts, ClaimFacts):
        text = ADVICE["VIOLATED"] if amount == OVER else ""
        if amount == OPEN:
            text = RUN_ONE if result.facts.reason == "not-run" else MORE_CANARIES
        return Step(text, findings=(result.finding,)) if text else None
    words, path = template(result.finding), target_path(audit)
    is_open = amount == OPEN and is_found(result) and bool(remedies(result))
    if amount != OVER and not is_open and not (amount == SEEN and words.is_simple):
        return None
    advice, commanded = first(result), remedies(result)
    text = advice if amount != SEEN else f"{closed(figure(result, item).line)} {advice}"
    if not commanded:
        verify = (f"{_run(path, result.probe)}{_how(audit)}",) if path else ()
        return Step(advice, commands=verify, findings=(result.finding,))
    commands = _commands(path, commanded[0], result.probe, _how(audit)) if path else ()
    return Step(text, commanded[0].cost, commands, (result.finding,))


def target_path(audit: Audit) -> str:
    """What the verbs are given to defend or audit this target again.

    Empty where it was loaded from no config file, and for a defended one, which is defended from its base alone.
    """
    file = audit.config_file if audit.target.defense == NONE else ""
    return file if posixpath.basename(file) != TARGET_FILE else posixpath.dirname(file) or "."


def _how(audit: Audit) -> str:
    """How deep the audit went and how it was judged, where not as usual: what verifies is held to the same."""
    given = (("policy", audit.verdict.policy), ("fail-on", audit.config.get("fail_on", "")), ("profile", audit.profile))
    return "".join(f" --{name} {shlex.quote(str(value))}" for name, value in given if value not in ("", "standard"))


def _commands(path: str, remedy: Remedy, probe: str, how: str) -> tuple[str, ...]:
    """The command that applies a remedy, and the one that verifies it."""
    target, needs = shlex.quote(path), f" {remedy.needs}" if remedy.needs else ""
    if remedy.compares:
        return (
            f"auditor compare {target} --defense {remedy.defense}{needs} --only {probe} -o "
            f"{shlex.quote(_beside(path, 'compared'))}",
        )
    defended = _beside(path, re.sub(r"\W+", "-", remedy.defense))
    apply = f"auditor defend {target} --defense {remedy.defense}{needs} -o {shlex.quote(defended)}"
    return apply, f"auditor run {shlex.quote(defended)}{how}"


def _run(target: str, probe: str, more: str = "") -> str:
    return f"auditor run {shlex.quote(target)} --only {probe}{more}"


def _beside(path: str, suffix: str) -> str:
    """`out/cora-gcn-temperature`, for a target in `out/cora-gcn`."""
    base = path.rstrip("/").removesuffix(".toml")
    return suffix if base in (".", "") else f"{base}-{suffix}"


def _settling(audit: Audit, results: Iterable[Result], item: str) -> list[Step]:
    """What would settle open results: one step for all that ask for the same, and one for what nothing settles."""
    path = target_path(audit)
    asked: dict[str, list[Result]] = {}
    seeds: dict[str, int] = {}
    for result in results:
        if word(result) != OPEN or isinstance(result.facts, ClaimFacts):
            continue
        codes = () if result.judgement is None else result.judgement.codes
        open_ = next((code for code in codes if isinstance(code, Settle)), None)
        if open_ is None:
            if any(isinstance(code, NotSeparable) for code in codes):
                asked.setdefault(RECIPE_WANTED, []).append(result)
            continue
        enough = ways(open_, template(result.finding).counted(item))
        asked.setdefault(enough, []).append(result)
        if enough and open_.seeds is not None:
            seeds[enough] = max(seeds.get(enough, 0), open_.seeds)
    found = []
    for text, of in sorted(asked.items(), key=lambda each: not each[0]):
        labels = listed(list(dict.fromkeys(f"“{template(r.finding).brief.label(r, item)}”" for r in of)))
        findings = tuple(dict.fromkeys(r.finding for r in of))
        if text == RECIPE_WANTED:
            found.append(Step(text, findings=findings))
        elif not text:
            found.append(Step(f"Judge by hand: {labels}. This data cannot settle it.", findings=findings))
        else:
            more = f" --seeds {','.join(map(str, range(seeds[text])))}" if text in seeds else ""
            probes = ",".join(dict.fromkeys(r.probe for r in of))
            again = (_run(path, probes, more),) if path and more else ()
            found.append(Step(f"Settle {labels}: {text}.", commands=again, findings=findings))
    return found
