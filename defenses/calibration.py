"""Temperature scaling: one number by which every logit is divided, fitted on the validation items."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import log_softmax, softmax
from torch import Tensor, nn

from auditor.defense import DefenseTask
from auditor.document import ValidityRow, check
from auditor.errors import LoadError, SkippedError
from auditor.parameters import parameters
from auditor.split_report import counted, verb
from auditor.statistics.calibration import negative_log_likelihood
from auditor.targets.copying import copied
from auditor.targets.target import Fitted, Target
from auditor.targets.user_imports import with_forward
from defenses.fitting import rebuilt, refit_trained

LEAST, MOST = 1 / 128, 128.0
"""Between which the temperature is sought; exact in float32, as what is saved is."""
PART = "calibration"
"""The module of the model under which it lies."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@parameters
class Temperature:
    """Divides the logits by one T > 0: every confidence changes, and no class.

    T minimises the negative log-likelihood of the validation items, which is convex in 1 / T; training and test items
    are not read. A target that was trained again gets a T of its own.

    Source: Guo et al., "On calibration of modern neural networks", ICML 2017.
    """

    id: ClassVar[str] = "temperature"
    version: ClassVar[str] = "1"

    def fit(self, target: Target, task: DefenseTask) -> Target:
        """See `auditor.defense.Defense`; a SkippedError where the validation items cannot say what T is."""
        return refit_trained(self, target, task)

    def train(self, base: Target, task: DefenseTask) -> Fitted:
        """See `defenses.fitting.Trains`."""
        start = time.perf_counter()
        logits, y = _validation(base)
        found = fit_temperature(logits, y)
        model = _tempered(base)
        model.get_submodule(PART).load_state_dict(found.tensors())
        rows = (_classes_row(base, model), _search_row(found, logits, y))
        notes = {**found.notes(), "seconds": time.perf_counter() - start}
        return Fitted(model.eval().requires_grad_(False), notes, validity=rows)

    def wrap(self, base: Target, tensors: Mapping[str, Tensor], task: DefenseTask) -> Target:
        """See `auditor.defense.Defense`."""
        target = rebuilt(self, base, tensors, task, head=True, model=_tempered(base))
        part = target.model.get_submodule(PART)
        assert isinstance(part, Calibration)
        assert target.defense is not None
        found = part.found()
        if not LEAST <= found.temperature <= MOST:
            raise LoadError(
                f"the saved temperature is {found.temperature:g}; expected one from 1/128 to 128. "
                "The file was changed: fit the defence again."
            )
        return replace(target, defense=replace(target.defense, notes=found.notes()))

    def controls(self) -> tuple[str, ...]:
        """None: T = 1 is the undefended target bit for bit, which stands beside every defence as it is."""
        return ()


@dataclass(frozen=True, slots=True)
class Found:
    """A temperature and what it was fitted on.

    Attributes:
        temperature: T, at a bound of the search where the likelihood rises up to it.
        before, after: mean negative log-likelihood of the validation items at T = 1 and at T, nats.
        items: number of validation items.
    """

    temperature: float
    before: float
    after: float
    items: int

    @property
    def is_inside(self) -> bool:
        """Whether the optimum lies inside the bounds of the search."""
        return LEAST < self.temperature < MOST

    def tensors(self) -> dict[str, Tensor]:
        """As the state dict of a `Calibration`: float32, which is how weights are read."""
        return {
            "temperature": torch.tensor(self.temperature),
            "validation_nll": torch.tensor([self.before, self.after]),
            "validation_items": torch.tensor(self.items),
        }

    def notes(self) -> dict[str, Any]:
        """As the report shows it."""
        return {
            "temperature": self.temperature,
            "validation_items": self.items,
            "validation_nll_before": self.before,
            "validation_nll_after": self.after,
        }


class Calibration(nn.Module):
    """Divides logits by a temperature that is saved with the model, beside what it was fitted on."""

    temperature: Tensor
    validation_nll: Tensor
    validation_items: Tensor

    def __init__(self) -> None:
        super().__init__()
        for name, value in Found(1.0, 0.0, 0.0, 0).tensors().items():
            self.register_buffer(name, value)

    def forward(self, logits: Tensor) -> Tensor:
        """[n, C] -> float64 [n, C]: two float32 logits that differ may have one float32 quotient, and then tie."""
        return logits.double() / self.temperature.double()

    def found(self) -> Found:
        """What is saved."""
        before, after = self.validation_nll.tolist()
        return Found(float(self.temperature), before, after, int(self.validation_items))


def fit_temperature(logits: Floats, y: Ints) -> Found:
    """The temperature with the least mean negative log-likelihood, sought from 1/128 to 128.

    With β = 1 / T the likelihood's slope is mean(Σ_c p_c z_c − z_y), which rises with β: the least is where it crosses
    0, found over log T by Brent's method, or a bound that it does not cross before (T → 0 where every item is right).
    All numbers are rounded to float32, as they are saved.

    Args:
        logits: finite, float64 [n, C].
        y: classes, int64 [n].

    Raises:
        SkippedError: every item has equal logits, so that no temperature changes anything.
    """
    z = logits - logits.max(axis=1, keepdims=True)  # the loss does not see the shift, the sums below do
    if not z.any():
        raise SkippedError(f"each of {len(y)} validation items has equal logits; a temperature would change nothing.")

    def slope(log_t: float) -> float:
        scaled = z * math.exp(-log_t)
        expected = (softmax(scaled, axis=1) * z).sum(axis=1)
        return float((expected - z[np.arange(len(y)), y]).mean())

    def loss(temperature: float) -> float:
        return negative_log_likelihood(log_softmax(z / temperature, axis=1), y)

    if slope(math.log(LEAST)) <= 0:
        temperature = LEAST
    elif slope(math.log(MOST)) >= 0:
        temperature = MOST
    else:
        temperature = _float32(math.exp(brentq(slope, math.log(LEAST), math.log(MOST))))
    return Found(temperature, _float32(loss(1.0)), _float32(loss(temperature)), len(y))


def _float32(value: float) -> float:
    return float(np.float32(value))


def _validation(base: Target) -> tuple[Floats, Ints]:
    """Logits [n, C] and labels [n] of the validation items.

    Raises:
        SkippedError: there are none, or one of them has no finite answer.
    """
    mask = base.split.val & base.graph.labelled
    if not mask.any():
        raise SkippedError(
            f"{base.name} has no validation items with a label; expected some that it was not trained on: a "
            "temperature fitted on training items is too sure of itself, and test items are for the audit. Name them "
            "as val in the split."
        )
    logits = base.clean_logits()[mask].double()
    lost = int((~torch.isfinite(logits).all(dim=1)).sum())
    if lost:
        having = f"{lost} of {counted(len(logits), 'validation item')} {verb(lost, len(logits), 'has', 'have')}"
        raise SkippedError(f"{having} a logit that is not finite; expected finite ones. Mend the model first.")
    return logits.numpy(), base.graph.y[mask].numpy()


def _tempered(base: Target) -> nn.Module:
    """A copy of the base's model whose answers are divided by a temperature, 1 until it is set; same call, same names.

    Raises:
        SkippedError: the model has a part of that name already.
    """
    model = copied(base.model)
    if hasattr(model, PART):
        raise SkippedError(f'{type(model).__name__} has a part called "{PART}" already; rename it.')
    model.add_module(PART, Calibration())
    return with_forward(model, _divided)


def _divided(forward: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(forward)
    def divided(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        return self.get_submodule(PART)(forward(self, *args, **kwargs))

    return divided


def _classes_row(base: Target, model: nn.Module) -> ValidityRow:
    before, after = base.clean_logits(), replace(base, model=model).clean_logits()
    changed = int((base.task.answers(before) != base.task.answers(after)).sum())
    return check("same-classes", "integrity", not changed, f"{changed} of {len(before)} items change their class")


def _search_row(found: Found, logits: Floats, y: Ints) -> ValidityRow:
    """Warns where the search ended at a bound: what is served is the bound, not an optimum."""
    evidence = f"T = {found.temperature:.4g}, sought from 1/128 to 128 on {found.items} validation items"
    if not found.is_inside:
        right = int((logits.argmax(axis=1) == y).sum())
        evidence += f", of which {right} are right: the search ends at its bound, and the likelihood would rise beyond"
    return check("temperature-inside", "warning", found.is_inside, evidence)
