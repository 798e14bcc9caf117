"""What guesses at links find, beside guesses without the model and blind ones: in a picture and in a few words."""

from __future__ import annotations

from dataclasses import dataclass

from auditor.document.facts import LinkList, LowFpr
from reports.sentences.numbers import Shares, digits


@dataclass(frozen=True, slots=True)
class Guesses:
    """Numbers of one sentence, each written with the same denominator.

    Attributes:
        among: what is guessed at: `905` pairs, or `if 1 in 1,000 unlinked pairs is falsely named`.
        found: links that are found with the model.
        without: and without it; empty where nobody guessed so.
        blind: and by chance.
    """

    among: str
    found: str
    without: str
    blind: str

    def compared(self, without: str) -> str:
        """`without it 78, blindly 1`."""
        return f"{without} {self.without}, blindly {self.blind}" if self.without else f"blindly {self.blind}"


def likeliest(pairs: LinkList) -> Guesses:
    """Links among as many likeliest pairs as there are links; `about`, where the other pairs are a sample."""
    chance = pairs.r.value
    return Guesses(
        among=digits(pairs.n_links),
        found=f"{'about ' if pairs.sampled else ''}{digits(pairs.k.value)}",
        without="" if pairs.m is None else digits(pairs.m.value),
        blind="fewer than 1" if chance is not None and 0 < chance < 0.5 else digits(chance),
    )


def few_alarms(low: LowFpr) -> Guesses:
    """Links that are found where few unlinked pairs may be named."""
    beside = None if low.control is None else low.control.value
    share = Shares.comparing(low.attack.value, beside, low.fpr)
    level = share.at(low.fpr)
    return Guesses(
        among=f"if {level(low.fpr)} unlinked pairs {level.verb(low.fpr)} falsely named",
        found=share(low.attack.value),
        without="" if low.control is None else share.bare(beside),
        blind=level.bare(low.chance),
    )
