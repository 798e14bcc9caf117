"""Words of a report and what they mean: on the page itself, since a touch screen has no hover."""

from __future__ import annotations

from typing import Final

_ALWAYS: Final = (
    (
        "Over the limit",
        "Even the better end of the interval is worse than your policy allows. It does not say “must not be used”.",
    ),
    ("Seen", "Proven, and within the limit."),
    ("Not found", "We looked and did not find it. That is our act, not the model's virtue."),
    ("Not settled", "The interval holds the limit: more data, more seeds or a person must decide."),
    ("Accepted", "Over the limit; somebody accepted that until a date, with a reason."),
    ("Does not count", "It rests on a check that failed."),
    (
        "Control",
        "What the same adversary reaches without the model, random edits of the same number, or no damage at all. A "
        "number alone says little; the difference to its control says what the model adds.",
    ),
    (
        "Excess, points",
        "The difference to the control in hundredths of a share, “worse” for the owner of the model. Behind it "
        "stands its 95 % interval.",
    ),
    (
        "Between … and …",
        "Where the true value plausibly lies: the method that makes these ranges is right in 95 of 100 cases.",
    ),
    (
        "Small, moderate, large, very large",
        "How much the better end of the interval proves: under 10 points, from 10, from 25, from 40; for rates at "
        "few false alarms from 3, 10 and 25.",
    ),
    ("Blindly", "By guessing without any knowledge."),
    (
        "Errors avoided",
        "Shown a link and a random pair, the best guess without the model errs so often; this share of its errors is "
        "gone with the model.",
    ),
)
_CLAIM: Final = (
    (
        "VIOLATED, UNDERPOWERED, CONSISTENT",
        "The claim is refuted; this audit could not have refuted it; it was not refuted, which is no proof.",
    ),
)
_COMPARISON: Final = (
    (
        "Paired difference",
        "The same seed, data and attacks with and without the defence. A gain counts only against the defence's own "
        "controls.",
    ),
)


def entries(*, is_claim: bool, is_comparison: bool) -> tuple[tuple[str, str], ...]:
    """Terms and meanings for this kind of report."""
    return (*(_CLAIM if is_claim else ()), *_ALWAYS, *(_COMPARISON if is_comparison else ()))
