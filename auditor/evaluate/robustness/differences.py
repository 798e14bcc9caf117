"""Is the gradient that a search follows the gradient of the model? Edge weights are moved a little, and compared."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from auditor.document import ValidityRow, check
from auditor.errors import AuditorError
from auditor.targets.capabilities import TRIAL_ERRORS
from auditor.targets.relaxation import Relaxation
from auditor.targets.target import Target

ARCS, STEP = 10, 1e-4
MOST_ARCS = 200_000
"""Of a graph up to which it is asked: some forty calls."""
MIDDLE = 0.5
"""Weight of the arcs that are moved: between absent and there, off the bends at both ends."""
SAME, BENT = 0.01, 1
"""Two slopes are the same to 1 %; one arc may stand at a bend of the model between its two steps."""


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
        by_autograd, by_steps = _slopes(relaxation, target, rng)
    except (*TRIAL_ERRORS, AuditorError) as error:  # a user's model may know single precision only
        said = f"the model does not run in double precision ({type(error).__name__})"
        return check("finite-differences", "warning", None, said)
    larger = torch.maximum(by_autograd.abs(), by_steps.abs())
    floor = 1e-7 * max(1.0, float(larger.max()))
    off = (by_autograd - by_steps).abs() > SAME * larger + floor
    evidence = f"autograd and finite differences agree in the weight of {int((~off).sum())} of {off.numel()} arcs"
    if bool(off.any()):
        worst = int(torch.where(off, (by_autograd - by_steps).abs(), 0.0).argmax())
        evidence += f"; at worst {float(by_autograd[worst]):.3g} against {float(by_steps[worst]):.3g}"
    return check("finite-differences", "warning", int(off.sum()) <= BENT, evidence)


def _slopes(relaxation: Relaxation, target: Target, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Slopes of a mixture of all outputs in the weights of a few arcs, by autograd and by steps, float64 [k] each."""
    graph = target.graph
    relaxation.handle.model.double()
    base = torch.ones(graph.num_edges) if graph.edge_weight is None else graph.edge_weight
    weight, x = base.double(), graph.x.double()
    places = torch.from_numpy(np.sort(rng.permutation(graph.num_edges)[:ARCS]))
    mixture: Tensor | None = None

    def mixed(own: Tensor) -> Tensor:
        nonlocal mixture
        z = relaxation.logits(x, graph.edge_index, weight.index_put((places,), own), graph.batch, graph.fields)
        if mixture is None:
            mixture = torch.from_numpy(rng.standard_normal(tuple(z.shape)))
        return (z * mixture).sum()

    middle = MIDDLE * weight[places]
    at = middle.clone().requires_grad_(True)
    (by_autograd,) = torch.autograd.grad(mixed(at), at)
    by_steps = []
    with torch.no_grad():
        for i in range(places.numel()):
            step = torch.zeros_like(middle).index_fill_(0, torch.tensor([i]), STEP)
            by_steps.append((mixed(middle + step) - mixed(middle - step)) / (2 * STEP))
    return by_autograd, torch.stack(by_steps)
