"""Coarser answers: the k largest posteriors, rounded posteriors, or the class alone. Nothing is trained."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from auditor.defense import DefenseTask
from auditor.document import ValidityRow, check
from auditor.errors import SkippedError
from auditor.parameters import parameters
from auditor.targets.copying import copied
from auditor.targets.target import Fitted, Target
from auditor.targets.user_imports import with_forward
from auditor.tasks import log_probabilities
from defenses.fitting import rebuilt, refit_trained

PART = "coarse_outputs"
"""The module of the model under which it lies; it holds no tensor, since the `[defense]` table says it all."""
NOTHING = 1e-12
"""What a posterior of 0 is written as: an answer with an infinite logarithm would count as wrong."""
LEAD = 1e-6
"""How far the predicted class is lifted above what rounding made equal to it; float32 still tells the two apart."""


@parameters
class CoarseOutputs:
    """Serves the k largest posteriors, rounded ones, or the class alone; no class changes and nothing is trained.

    Attributes:
        top_k: how many posteriors are served, the largest; the mass of the others is shared equally among them.
        digits: decimals that posteriors are rounded to, so that they still add up to 1 (largest remainders); 1 where
            none of the three is given.
        labels_only: the predicted class has 1, every other 0.

    Source: Shokri et al., "Membership inference attacks against machine learning models", S&P 2017, section VIII
    (top k classes, down to the label, and d digits; there what is served need not add up to 1).
    """

    top_k: Annotated[int, Field(ge=1)] | None = None
    digits: Annotated[int, Field(ge=1, le=6)] | None = None
    labels_only: bool = False

    id: ClassVar[str] = "coarse-outputs"
    version: ClassVar[str] = "1"

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        given = [name for name, value in (("top-k", self.top_k), ("digits", self.digits)) if value is not None]
        if self.labels_only and given:
            raise ValueError(
                f"labels-only with {' and '.join(given)} cannot be used: a class alone has no posterior to cut or "
                "round. Give one or the other"
            )
        if not self.labels_only and not given:  # the one that costs least, so that the bare name means something
            object.__setattr__(self, "digits", 1)
        return self

    def fit(self, target: Target, task: DefenseTask) -> Target:
        """See `auditor.defense.Defense`; a SkippedError where k posteriors of the target's classes hide nothing."""
        return refit_trained(self, target, task)

    def train(self, base: Target, task: DefenseTask) -> Fitted:
        """See `defenses.fitting.Trains`."""
        model = self._coarse(base).eval().requires_grad_(False)
        if not torch.isfinite(base.clean_logits()).all(dim=1).any():
            raise SkippedError(f"{base.name} gives no item a finite answer, so that there is none to make coarser.")
        served = replace(base, model=model)
        return Fitted(model, _notes(served), validity=(_classes_row(served),))

    def wrap(self, base: Target, tensors: Mapping[str, Tensor], task: DefenseTask) -> Target:
        """See `auditor.defense.Defense`."""
        target = rebuilt(self, base, tensors, task, head=True, model=self._coarse(base))
        assert target.defense is not None
        return replace(target, defense=replace(target.defense, notes=_notes(target)))

    def controls(self) -> tuple[str, ...]:
        """None: what lacks the idea is the undefended target, which stands beside every defence as it is."""
        return ()

    def _coarse(self, base: Target) -> nn.Module:
        """A copy of the base's model with coarser answers; same call, same tensors.

        Raises:
            SkippedError: k posteriors tell all of them, or the model has a part of that name already.
        """
        classes, model = base.num_classes, copied(base.model)
        if self.top_k is not None and self.top_k >= classes - 1:
            raise SkippedError(
                f"top-k={self.top_k} hides nothing of {classes} classes: posteriors add up to 1, so that the last one "
                f"is known. Expected top-k of at most {classes - 2}"
                + (", or digits." if classes > 2 else "; with two classes digits and labels-only are left.")
            )
        if hasattr(model, PART):
            raise SkippedError(f'{type(model).__name__} has a part called "{PART}" already; rename it.')
        model.add_module(PART, Coarsening(self.top_k, self.digits, labels_only=self.labels_only))
        return with_forward(model, _through)


class Coarsening(nn.Module):
    """Makes the answers of a model coarser: logits in, log-posteriors out. See `auditor.targets.target.Coarsens`."""

    def __init__(self, top_k: int | None, digits: int | None, *, labels_only: bool) -> None:
        super().__init__()
        self._top_k, self._labels_only = top_k, labels_only
        self.served_digits = digits

    def forward(self, logits: Tensor) -> Tensor:
        """[n, C] -> float64 [n, C], with the same classes; a row that is not finite has no answer."""
        answers = torch.full(logits.shape, torch.nan, dtype=torch.float64)
        finite = torch.isfinite(logits).all(dim=1)
        if finite.any():  # the kind of output is read off these rows alone
            answers[finite] = self._answers(logits[finite])
        return answers

    def _answers(self, logits: Tensor) -> Tensor:
        winner = logits.argmax(dim=1, keepdim=True)
        q = self._served(log_probabilities(logits).exp(), winner)
        q = q.scatter(1, winner, q.amax(dim=1, keepdim=True) * (1 + LEAD))
        return (q / q.sum(dim=1, keepdim=True)).clamp_min(NOTHING).log()

    def _served(self, p: Tensor, winner: Tensor) -> Tensor:
        """What is told of posteriors p [n, C]."""
        if self._labels_only:
            return torch.zeros_like(p).scatter(1, winner, 1.0)
        classes = p.shape[1]
        k = self._top_k or classes
        shown = p.scatter(1, winner, 2.0).topk(k, dim=1).indices  # of equal posteriors the winner comes first
        own = p.gather(1, shown)
        rest = (1 - own.sum(dim=1, keepdim=True)).clamp_min(0)
        parts = rounded(torch.cat([own, rest], dim=1), self.served_digits)
        hidden: Tensor = parts[:, -1:] / max(1, classes - k)
        return hidden.expand_as(p).scatter(1, shown, parts[:, :-1])


def rounded(p: Tensor, digits: int | None) -> Tensor:
    """Rows that add up to 1, [n, m], at `digits` decimals with the same sum: whole units by the largest remainders.

    What is larger stays at least as large, and of equals the first is. None leaves them as they are.
    """
    if digits is None:
        return p
    scaled = p * 10**digits
    units = scaled.floor()
    left = (float(10**digits) - units.sum(dim=1, keepdim=True)).round()
    order = torch.argsort(scaled - units, dim=1, descending=True, stable=True)
    rank = torch.argsort(order, dim=1)
    whole: Tensor = units + (rank < left)
    return whole / float(10**digits)


def _through(forward: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(forward)
    def coarse(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        return self.get_submodule(PART)(forward(self, *args, **kwargs))

    return coarse


def _notes(target: Target) -> dict[str, Any]:
    """How many different answers are left, and what became of the mean confidence; no label is read."""
    before, after = target.beneath().clean_logits(), target.clean_logits()
    return {
        "items": len(before),
        "different_answers_before": _different(before),
        "different_answers_after": _different(after),
        "mean_confidence_before": _confidence(before),
        "mean_confidence_after": _confidence(after),
    }


def _different(logits: Tensor) -> int:
    return int(torch.unique(log_probabilities(logits).nan_to_num(math.inf), dim=0).shape[0])


def _confidence(logits: Tensor) -> float:
    return float(log_probabilities(logits).exp().max(dim=1).values.nanmean())


def _classes_row(target: Target) -> ValidityRow:
    before, after = (target.task.answers(of.clean_logits()) for of in (target.beneath(), target))
    changed = int((before != after).sum())
    return check("same-classes", "integrity", not changed, f"{changed} of {len(before)} items change their class")
