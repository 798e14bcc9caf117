"""Is the gradient that a search follows the gradient of the model? Edge weights are moved a little, and compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from auditor.document import ValidityRow, check
from auditor.errors import AuditorError
from auditor.targets.capabilities import TRIAL_ERRORS
from auditor.targets.relaxation import Relaxation
from auditor.targets.target import Target

ARCS = 10
STEPS = (1e-4, 1e-5, 1e-6, 1e-7)
"""The first is taken in every arc, the next ones where it disagrees: a bend inside a step is outside a smaller one."""
MOST_ARCS = 200_000
"""Of a graph up to which it is asked: some forty calls."""
MIDDLE = 0.5
"""Weight of the arcs that are moved: between absent and there, off the bends at both ends."""
SAME, BENT = 0.01, 1
"""Two slopes are the same to 1 %; one arc may stand at a bend of the model, where it has two slopes."""


def differences_row(target: Target, rng: np.random.Generator) -> ValidityRow | None:
    """Whether autograd agrees with finite differences of the relaxed model in the weights of a few arcs.

    A model that calls autograd inside its forward, cuts part of it off, or has a backward of its own answers exactly
    and has another gradient: a search that follows it is led elsewhere. In double precision.

    Args:
        target: under audit.
        rng: of the arcs, and of the mixture of outputs whose slope is taken.

    Returns:
        A row; None where no gradient reaches the edges, only a ranking is left, or the graph is large.
    """
    graph = target.graph
    if not 0 < graph.num_edges <= MOST_ARCS:
        return None
    relaxation = Relaxation.choose(
        target.handle(), num_features=graph.num_features, level=target.task.level, graph=graph
    )
    if not relaxation.is_exact:
        return None
    try:
        slopes = _Slopes.of(relaxation, target, rng)
        by_autograd, by_steps = slopes.by_autograd, slopes.by_steps(STEPS[0])
        floor = 1e-7 * max(1.0, float(torch.maximum(by_autograd.abs(), by_steps.abs()).max()))
        off = _apart(by_autograd, by_steps, floor)
        still = int((torch.maximum(by_autograd.abs(), by_steps.abs()) <= floor).sum())
        bent = 0
        for step in STEPS[1:]:
            if bool(off.any()):
                again = off & ~_apart(by_autograd, slopes.by_steps(step, off), floor)
                off, bent = off & ~again, bent + int(again.sum())
    except (*TRIAL_ERRORS, AuditorError) as error:  # a user's model may know single precision only
        said = f"the model does not run in double precision ({type(error).__name__})"
        return check("finite-differences", "warning", None, said)
    if still == off.numel():
        return check("finite-differences", "warning", None, f"no answer moves with the weight of any of {still} arcs")
    evidence = f"autograd and finite differences agree in the weight of {int((~off).sum())} of {off.numel()} arcs"
    if bent:
        evidence += f", in {bent} of them at smaller steps, which pass no bend of the model"
    if still:
        evidence += f"; no answer moves with the weight of {still} of these"
    if bool(off.any()):
        worst = int(torch.where(off, (by_autograd - by_steps).abs(), 0.0).argmax())
        evidence += f"; at worst {float(by_autograd[worst]):.3g} against {float(by_steps[worst]):.3g}"
    return check("finite-differences", "warning", int(off.sum()) <= BENT, evidence)


def _apart(one: Tensor, other: Tensor, floor: float) -> Tensor:
    """Which slopes [k] are not the same, bool [k]."""
    return (one - other).abs() > SAME * torch.maximum(one.abs(), other.abs()) + floor


@dataclass(frozen=True, slots=True, eq=False)
class _Slopes:
    """Slopes of a mixture of all outputs in the weights of a few arcs, in double precision.

    Attributes:
        outputs: of the relaxed model, by the weights of the arcs, float64 [k].
        mixture: of the outputs, float64 of their shape.
        middle: weights at which the slopes are taken, float64 [k].
        by_autograd: float64 [k].
    """

    outputs: Callable[[Tensor], Tensor]
    mixture: Tensor
    middle: Tensor
    by_autograd: Tensor

    @classmethod
    def of(cls, relaxation: Relaxation, target: Target, rng: np.random.Generator) -> _Slopes:
        """In the weights of a few random arcs, each between absent and there."""
        graph = target.graph
        relaxation.handle.model.double()
        base = torch.ones(graph.num_edges) if graph.edge_weight is None else graph.edge_weight
        weight, x = base.double(), graph.x.double()
        places = torch.from_numpy(np.sort(rng.permutation(graph.num_edges)[:ARCS]))

        def outputs(own: Tensor) -> Tensor:
            moved = weight.index_put((places,), own)
            return relaxation.logits(x, graph.edge_index, moved, graph.batch, graph.fields)

        middle = MIDDLE * weight[places]
        at = middle.clone().requires_grad_(True)
        z = outputs(at)
        mixture = torch.from_numpy(rng.standard_normal(tuple(z.shape)))
        (by_autograd,) = torch.autograd.grad((z * mixture).sum(), at)
        return cls(outputs, mixture, middle, by_autograd)

    def by_steps(self, size: float, of: Tensor | None = None) -> Tensor:
        """By steps of that size both ways, float64 [k]; where `of`, bool [k], says so, and NaN elsewhere.

        What an arc does not move drops out output by output: sums over all of them would round it away.
        """
        found = torch.full_like(self.middle, torch.nan)
        with torch.no_grad():
            for i in range(self.middle.numel()):
                if of is None or bool(of[i]):
                    step = torch.zeros_like(self.middle).index_fill_(0, torch.tensor([i]), size)
                    rise = self.outputs(self.middle + step) - self.outputs(self.middle - step)
                    found[i] = (rise * self.mixture).sum() / (2 * size)
        return found
