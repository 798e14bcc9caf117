"""The one sentence of a link measurement: what was found, by whom, and how much beyond the control."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from auditor.audit import Advantage

NEAR_ZERO = 0.01
NAMES = {
    "features": "features",
    "features-standardised": "features",
    "labels": "labels",
    "features+labels": "features and labels",
    "features-standardised+labels": "features and labels",
    "mlp": "a network without edges, trained on features and labels",
    "untrained": "the same attack on an untrained model",
    "chance": "chance",
    "counterfactual/degree": "the same model on a rewired graph of equal degrees",
    "counterfactual/degree+class": "the same model on a rewired graph of equal degrees and class mixing",
}


class Compared(Protocol):
    """What a sentence needs of one comparison."""

    @property
    def name(self) -> str:
        """The control's id."""
        ...

    @property
    def difference(self) -> tuple[float, float, float]:
        """(value, lo, hi) of attack − control."""
        ...

    @property
    def counterfactual(self) -> bool:
        """Whether it is a twin on a rewired graph."""
        ...


def sentence(
    probe: str,
    metric: str,
    value: float,
    strongest: Compared,
    advantage: Advantage,
    without_model: Advantage | None,
    comparisons: Sequence[Compared],
    knowledge: str,
) -> str:
    """One sentence in the order what, by whom, how much beyond the control. Never "private", never "safe".

    Args:
        probe: id of the probe.
        metric: name of the metric.
        value: the attack's value.
        strongest: the control that `advantage` is against.
        advantage: over all controls.
        without_model: the same over the no-model controls alone.
        comparisons: every control that ran.
        knowledge: what the adversary knows besides the model, in words.
    """
    unit = _in_words(metric)
    low, high = advantage.ci.lo, advantage.ci.hi
    gain, control = advantage.value or 0.0, NAMES.get(strongest.name, strongest.name)
    if strongest.counterfactual:  # both arms leave out what the rewired graph joins, so their values differ from these
        control += " (on the pairs it does not join)"
    if low is None or high is None:
        return f"{probe}: {unit} {value:.3f}, {_signed(gain)} against {control}; too little data for an interval"
    bounds = f"[{_signed(low)}, {_signed(high)}]"
    if low > 0:
        text = f"{probe} finds edges {gain:.3f} {unit} [{low:.3f}, {high:.3f}] better than {control}"
        twins = [c for c in comparisons if c.counterfactual and c is not strongest]
        if not strongest.counterfactual and twins:
            least = min(twins, key=lambda c: c.difference[0])
            text += f"; {least.difference[0]:.3f} better than {NAMES.get(least.name, least.name)}: the edges themselves"
        elif strongest.counterfactual:
            text += ": the edges themselves"
        return text
    if without_model is not None and without_model.ci.lo is not None and without_model.ci.lo > 0:
        beyond = without_model.value or 0.0
        return (
            f"{probe}: {_signed(beyond)} {unit} beyond what needs no model, explained by degrees and class mixing: "
            f"{_signed(gain)} {bounds} against {control}"
        )
    if strongest.counterfactual and without_model is None:
        return f"{probe}: {_signed(gain)} {unit} {bounds} against {control}: these explain what it finds"
    if high <= 0 or gain <= NEAR_ZERO:
        shown = "no leak" if high <= NEAR_ZERO else "no leak shown"
        return (
            f"{probe}: {shown} beyond {control} ({unit} {value:.3f}, {_signed(gain)} {bounds}): the model adds nothing "
            f"that an adversary with {knowledge} did not have"
        )
    return f"{probe}: {_signed(gain)} {unit} {bounds} against {control}: not shown to be beyond it"


def _signed(number: float) -> str:
    return f"{number:+.3f}".replace("-", "−")


def _in_words(metric: str) -> str:
    if metric.startswith("tpr@"):
        return f"TPR at {metric.removeprefix('tpr@')} FPR"
    return {"auc": "AUC", "precision@edges": "precision at |E|"}.get(metric, metric.replace("_", " "))
