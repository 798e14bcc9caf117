"""The audit of a claimed (epsilon, delta) in words: what is claimed, what could be seen, what was found."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError

from auditor.document import Audit, Result
from auditor.document.facts import Accounted, Bound, ClaimFacts
from auditor.guarantee import RELATION_WORDS, Guarantee
from auditor.split_report import verb
from reports.sentences import names
from reports.sentences.numbers import MISSING, closed, count, digits, listed, shortest, value_cell

HEADS: Final = ("test", "guesses", "right", "needed", "bound 95 %", "bound at α", "reach twin", "claim")
"""Of the table of bounds."""
ADVICE: Final = {
    "VIOLATED": "Do not publish this claim. Recompute it from the mechanism's parameters.",
    "UNDERPOWERED": "This audit could not have refuted the claim. This is not a pass.",
    "CONSISTENT": "Not refuted, not proven: a stronger adversary may exist.",
}
"""What follows from each verdict word."""
UNRUN: Final = "No run was audited: arithmetic says nothing of the code. This is not a pass."
_LARGEST = 20.0
"""Epsilon from which on the odds are a number that nobody can picture."""
_SEEN = {
    "released": "the released graph or aggregate itself",
    "mechanism": "the noisy sums of the mechanism",
    "posteriors": "the posteriors of the final model",
    "scores": "scores of the owner's own",
    "parameters": "the stated parameters alone",
}
_TWIN = {
    "released": "with the noise halved",
    "mechanism": "with the noise halved",
    "posteriors": "with the noise removed",
    "scores": "in the twin that was given",
}


@dataclass(frozen=True, slots=True)
class BoundRow:
    """One test at one size, in words under `HEADS`."""

    words: tuple[str, ...]
    is_judged: bool
    is_rejected: bool


def epsilon(value: float | None) -> str:
    """Two decimals; one that cannot be bounded has no number."""
    return "beyond any bound" if value is None else digits(value, 2)


def small(value: float) -> str:
    """A probability as it was written, `0.00001`."""
    return f"{value:.12f}".rstrip("0").rstrip(".")


def headline(claim: Mapping[str, Any]) -> str:
    """`epsilon 1, delta 0.001, per graph (add or remove one graph), for whoever sees the noisy sums`."""
    relation = RELATION_WORDS.get(str(claim.get("relation")), str(claim.get("relation")))
    numbers = f"epsilon {_shortest(claim.get('epsilon'))}, delta {_small(claim.get('delta'))}"
    seen = _SEEN.get(str(claim.get("access")), str(claim.get("access")))
    return f"{numbers}, per {claim.get('level')} ({relation}), for whoever sees {seen}"


def verdict(facts: ClaimFacts) -> str:
    """The verdict word and why, without a full stop."""
    return f"{facts.verdict}: {why(facts)}"


def advice(facts: ClaimFacts) -> str:
    """What follows from the verdict word, and where no run was audited that it says nothing of the code."""
    return UNRUN if facts.verdict == "UNDERPOWERED" and facts.reason == "not-run" else ADVICE[facts.verdict]


def odds(facts: ClaimFacts) -> str:
    """What epsilon means for one record, where the claim is refuted: how much the odds that it was used may grow."""
    shown = facts.account.epsilon if facts.account is not None and facts.reason == "accounting" else None
    if shown is None:
        shown = max((b.lower for b in facts.bounds if b.judged and b.rejected and b.lower is not None), default=None)
    if facts.verdict != "VIOLATED" or shown is None or max(facts.epsilon, shown) > _LARGEST:
        return ""
    one = {"edge": "a given link", "node": "a given node", "graph": "a given graph"}.get(facts.level, "one record")
    but = f", leaving out 1 chance in {digits(1 / facts.delta)}" if facts.delta else ""
    return closed(
        f"the odds that {one} was used may grow {_times(facts.epsilon)} under the claim{but}; what was found allows "
        f"{_times(shown)}"
    )


def _times(epsilon_: float) -> str:
    factor = math.exp(epsilon_)
    return f"{digits(factor, 1 if factor < 9.95 else 0)} times"


def beside(result: Result) -> str:
    """A number that stands beside the one that decides."""
    return f"{names.metric(result.metric)} is {value_cell(result.estimate.value, result.unit)}"


def bound_rows(facts: ClaimFacts) -> list[BoundRow]:
    """Every test, those that decide first."""
    return [_bound_row(bound) for bound in sorted(facts.bounds, key=lambda bound: not bound.judged)]


def found(audit: Audit) -> ClaimFacts | None:
    """What was found, of several seeds the worst; None before there is a result."""
    return next((result.facts for result in audit.judged if isinstance(result.facts, ClaimFacts)), None)


def lines(audit: Audit) -> list[tuple[str, str]]:
    """Claim, mechanism with its caveats, account, power, plan, as far as the document has them."""
    facts, params = found(audit), audit.cells[0].params
    plan = _mapping(params.get("preregistration"))
    claimed = _mapping(plan.get("claim")) if facts is None else facts.model_dump()
    said = [("claim", headline(claimed) if claimed else "")]
    guarantee = _guarantee(params.get("mechanism"), audit.target.guarantee)
    if guarantee is not None:
        said.append(("mechanism", guarantee.headline()))
        said += [("", f"caveat: {caveat}") for caveat in guarantee.own_caveats]
    if facts is not None and facts.account is not None:
        said.append(("account", _account(facts.account)))
    said += [("power", _power(_mapping(params.get("power")))), ("plan", _plan(plan))]
    if facts is not None and facts.audited is not None:
        said.append(("audited", f"its canaries change the mechanism; this run had {facts.audited.headline()}"))
    return [(label, text) for label, text in said if text]


def why(facts: ClaimFacts) -> str:
    """What stands behind the verdict word, without a full stop."""
    claimed = f"epsilon {shortest(facts.epsilon)}"
    if facts.reason in ("accounting", "not-run") and facts.account is not None:
        account = _account(facts.account)
        if facts.reason == "accounting":
            return f"{account}, and the claim is {claimed}"
        return (
            f"the arithmetic holds: {account}; but no run was audited, and stated parameters say nothing of what the "
            "code does"
        )
    if facts.reason == "alpha-below-delta":
        level = "" if facts.alpha is None else f" at the level {small(facts.alpha)}"
        return f"no test{level} can refute a claim whose delta is {small(facts.delta)}, which is not below it"
    if facts.reason == "ceiling":
        proves = f"even with every guess right it proves no more than epsilon {epsilon(facts.ceiling)}"
        return f"this audit could not have refuted {claimed}: {proves}; {_enough(facts)}"
    if facts.reason == "reach-unknown":
        return "no test refutes it, and no run with less noise was given to show that missing noise would be noticed"
    return _tested(facts, claimed)


def _tested(facts: ClaimFacts, claimed: str) -> str:
    """What the test with the highest bound saw: of those that refute the claim where some do."""
    judged = [bound for bound in facts.bounds if bound.judged]
    refuting = [bound for bound in judged if bound.rejected] if facts.verdict == "VIOLATED" else []
    best = max(refuting or judged, key=lambda b: (b.lower if refuting else b.lower_95) or 0.0, default=None)
    if best is None:
        return "nothing was tested"
    right = (
        f"{digits(best.right)} of {count(best.guesses, 'guess')} {verb(best.right, best.guesses, 'was', 'were')} right"
    )
    twin = _TWIN.get(facts.access, "with less noise")
    reached = "" if best.twin_lower_95 is None else f"{twin} the bound is epsilon {epsilon(best.twin_lower_95)}"
    if facts.reason == "reach":
        return f"this audit would not have noticed missing noise: {right}; {reached}, and the claim is {claimed}"
    if refuting:
        needed = "" if best.needed is None else f", and {digits(best.needed)} refute {claimed}"
        return f"{right}{needed}; epsilon is at least {epsilon(best.lower)}"
    needed = "" if best.needed is None else f"; {digits(best.needed)} would have refuted {claimed}"
    return (
        f"this audit could have refuted the claim and did not: {right}{needed}; {reached}. Not refuted, not proven: a "
        "stronger adversary may exist"
    )


def _account(account: Accounted) -> str:
    stated = ", ".join(f"{name.replace('_', ' ')} {_shortest(value)}" for name, value in account.parameters.items())
    by = [account.accountant]
    if account.prv is not None and account.pld is not None:
        by.append(f"PRV {epsilon(account.prv)}, PLD {epsilon(account.pld)}")
    if account.ordinary is not None:
        by.append(f"for records that share nothing {epsilon(account.ordinary)}")
    source = f"the stated parameters ({stated}) give" if stated else "the stated parameters give"
    return f"{source} epsilon {epsilon(account.epsilon)} at delta {small(account.delta)} ({'; '.join(by)})"


def _enough(facts: ClaimFacts) -> str:
    unit = facts.unit or "canaries"
    if facts.enough is None:
        return f"no number of {unit} would be enough"
    return f"{digits(facts.enough)} {unit}{' with and as many without' if unit == 'trainings' else ''} could"


def _power(power: Mapping[str, Any]) -> str:
    rows = [row for row in _items(power.get("rows")) if isinstance(row, Mapping)]
    able = [row for row in rows if isinstance(row.get("detectable"), int | float)]
    ceilings = [row["ceiling"] for row in rows if isinstance(row.get("ceiling"), int | float)]
    if not able:
        return (
            f"even with every guess right it proves no more than epsilon {epsilon(max(ceilings))}" if ceilings else ""
        )
    best = min(able, key=lambda row: float(row["detectable"]))
    right = f"{_whole(best.get('needed'))} of {_whole(best.get('guesses'))} guesses right refute the claim"
    text = f"a true epsilon of {epsilon(best['detectable'])} would be noticed"
    if isinstance(power.get("probability"), int | float):
        text += f" {digits(100 * power['probability'])} times in 100"
    return f"{text}: {right} (test {best.get('test')})"


def _plan(plan: Mapping[str, Any]) -> str:
    """What was fixed before any score was seen."""
    if not plan:
        return ""
    sizes = listed([_whole(size) for size in _items(plan.get("guess_sizes"))])
    tests = listed([str(test) for test in _items(plan.get("tests"))])
    what = f"{_whole(plan.get('canaries'))} canaries, {sizes} guesses"
    if plan.get("mode") != "one-run":
        what = f"{sizes} judged trainings with and as many without"
    share, alpha = (plan.get(key) for key in ("alpha_share", "alpha"))
    level = f"each at α {_small(share)} of {_small(alpha)}"
    return f"{plan.get('mode')}: {what}; tests {tests}, {level}; score: {plan.get('score')}; seed {plan.get('seed')}"


def _bound_row(bound: Bound) -> BoundRow:
    guessed = (bound.test, digits(bound.guesses), digits(bound.right))
    if not bound.judged:
        return BoundRow((*guessed, "", _epsilon_cell(bound.lower_95), "", "", "shown, not judged"), False, False)
    words = (
        "never" if bound.needed is None else digits(bound.needed),
        _epsilon_cell(bound.lower_95),
        _epsilon_cell(bound.lower),
        _epsilon_cell(bound.twin_lower_95),
        "refuted" if bound.rejected else "not refuted",
    )
    return BoundRow((*guessed, *words), True, bound.rejected)


def _epsilon_cell(value: float | None) -> str:
    return MISSING if value is None else digits(value, 3)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _items(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []


def _guarantee(stated: Any, other: Guarantee | None) -> Guarantee | None:
    """The Guarantee that a cell's parameters state; of the target where they state none."""
    try:
        return other if stated is None else Guarantee.model_validate(stated)
    except ValidationError:
        return other


def _shortest(value: Any) -> str:
    return shortest(value, most=4) if isinstance(value, int | float) and not isinstance(value, bool) else MISSING


def _whole(value: Any) -> str:
    return digits(value) if isinstance(value, int | float) and not isinstance(value, bool) else MISSING


def _small(value: Any) -> str:
    return small(value) if isinstance(value, int | float) and not isinstance(value, bool) else MISSING
