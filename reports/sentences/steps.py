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
        serves: what those are called, a sentence; empty where it answers one.
    """

    text: str
    cost: str = ""
    commands: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()
    serves: str = ""

    @property
    def said(self) -> str:
        """All of it but the commands."""
        return " ".join(filter(None, (self.text, self.serves, self.cost)))


def steps(audit: Audit, results: Iterable[Result]) -> list[Step]:
    """What to do, in the order of the results; equal advice once.

    What only settles comes behind it, and last what next to nothing would mend and no limit asks for.
    """
    item, results = names.items(audit.target.task.level), list(results)
    found: dict[object, list[Result]] = {}
    last: dict[object, list[Result]] = {}
    for result in results:
        if (key := _advice(result)) is not None:
            (last if word(result) == SEEN else found).setdefault(key, []).append(result)
    done = [_repairing(audit, of, item) for of in found.values()]
    if any(cell.status in ("error", "timeout") for cell in audit.cells):
        done.append(Step(BROKEN))
    checks = (*audit.validity, *(row for cell in audit.cells for row in cell.validity))
    if any(row.status == "fail" for row in checks):
        done.append(Step(MEND))
    return _once([*done, *_settling(audit, results, item), *(_repairing(audit, of, item) for of in last.values())])


def _once(found: Iterable[Step]) -> list[Step]:
    """Steps of equal commands are one, in the words of the first."""
    kept: dict[tuple[str, ...] | str, Step] = {}
    for step in found:
        before = kept.setdefault(step.commands or step.text, step)
        kept[step.commands or step.text] = replace(
            before, findings=tuple(dict.fromkeys((*before.findings, *step.findings)))
        )
    return list(kept.values())


def _advice(result: Result) -> object:
    """What results of one step share: what comes first in the advice, and the remedy that is a command.

    None where a result asks for nothing: what is over its limit asks, or proven and open, and what is within it where
    that is next to nothing.
    """
    amount = word(result)
    if isinstance(result.facts, ClaimFacts):
        if amount == OPEN:
            return RUN_ONE if result.facts.reason == "not-run" else MORE_CANARIES
        return ADVICE["VIOLATED"] if amount == OVER else None
    is_open = amount == OPEN and is_found(result) and bool(remedies(result))
    if amount != OVER and not is_open and not (amount == SEEN and template(result.finding).is_simple):
        return None
    return (_clauses(first(result))[0], *remedies(result)[:1])


def _repairing(audit: Audit, results: list[Result], item: str) -> Step:
    """What lowers these results, which share their advice: one sentence, and commands that are about all of them."""
    result, path = results[0], target_path(audit)
    findings = tuple(dict.fromkeys(each.finding for each in results))
    if isinstance(result.facts, ClaimFacts):
        return Step(str(_advice(result)), findings=findings)
    advice, commanded = _together(map(first, results)), remedies(result)
    text = advice if word(result) != SEEN else f"{closed(figure(result, item).line)} {advice}"
    of = {each.finding: each for each in reversed(results)}  # the first of each: it is nearest to its limit
    labels = [f"“{template(id_).brief.label(of[id_], item)}”" for id_ in findings]
    serves = f"It is for {listed(labels)}." if len(labels) > 1 else ""
    probes = ",".join(dict.fromkeys(each.probe for each in results))
    if not commanded:
        again = (f"{_run(path, probes)}{_how(audit)}",) if path else ()
        return Step(text, commands=again, findings=findings, serves=serves)
    commands = _commands(path, commanded[0], probes, _how(audit)) if path else ()
    return Step(text, commanded[0].cost, commands, findings, serves)


def _clauses(advice: str) -> list[str]:
    return advice.rstrip(".").split("; ")


def _together(advice: Iterable[str]) -> str:
    """Sentences that begin alike as one: each clause once, and none that another one says with more words."""
    clauses = list(dict.fromkeys(clause for each in advice for clause in _clauses(each)))
    kept = [c for c in clauses if not any(other != c and other.startswith(c) for other in clauses)]
    return f"{'; '.join(kept)}."


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
