"""Confidence scores that come with every forward pass; higher = more like the data the model knows.

They are read off the logits of corrupted and held-out sets, so that each gap is shown beside "does the model notice".
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from auditor.data.graph import Graph
from auditor.tasks import log_probabilities, output_kind

FLAT = 1e-4


def detector_scores(
    logits: Tensor, graph: Graph, *, has_logits: bool = True, isolated: str = "keep"
) -> dict[str, Tensor]:
    """Score of every item by detector name, float64 [n] each; a row that is not finite scores −inf.

    `msp` always. From logits also `max-logit`, `energy` and, for one graph, `energy-prop` on the graph under test.
    For a model that returns (log-)probabilities the energy is undefined and the largest log-probability is `msp`
    itself, so that both are left out (`energy_undefined` gives the reason).

    Args:
        logits: what the model answered on `graph`, [N, C] or [B, C].
        graph: the graph under test.
        has_logits: whether the target serves logits at all.
        isolated: see `propagate`.
    """
    finite = torch.isfinite(logits).all(dim=1)
    safe = torch.where(finite.unsqueeze(1), logits.double(), torch.zeros((), dtype=torch.float64))
    scores = {"msp": largest_log_posterior(log_posteriors(logits))}
    if has_logits and energy_undefined(logits) is None:
        scores["max-logit"] = safe.max(dim=1).values
        scores["energy"] = safe.logsumexp(dim=1)
        if graph.task.level == "node":
            scores["energy-prop"] = propagate(scores["energy"], graph.edge_index, isolated=isolated)
    lowest = torch.tensor(-torch.inf, dtype=torch.float64)
    return {name: torch.where(finite, score, lowest) for name, score in scores.items()}


def log_posteriors(logits: Tensor) -> Tensor:
    """Log posteriors float64 [n, C]; the kind of output is read off finite rows, other rows become uniform."""
    finite = torch.isfinite(logits).all(dim=1)
    out = torch.full(logits.shape, -float(torch.tensor(float(logits.shape[1])).log()), dtype=torch.float64)
    if finite.any():
        out[finite] = log_probabilities(logits[finite])
    return out


def of_others(logits: Tensor, without: Sequence[int]) -> Tensor:
    """Answers about the other classes alone, [n, C − k].

    Logits lose those columns. Of a model that answers (log-)probabilities, which are of all classes, these are log
    posteriors given that it is one of the others; a row that is not finite stays so.

    Args:
        logits: what the model answered, [n, C].
        without: k classes.
    """
    kept = [c for c in range(logits.shape[1]) if c not in without]
    if energy_undefined(logits) is None:
        return logits[:, kept]
    log_p = log_posteriors(logits)[:, kept]
    given = log_p - log_p.logsumexp(dim=1, keepdim=True)
    finite = torch.isfinite(logits).all(dim=1, keepdim=True)
    return torch.where(finite, given.clamp_min(torch.finfo(torch.float64).min), torch.nan)


def largest_log_posterior(log_p: Tensor) -> Tensor:
    """max_c log p_c as −log(1 + sum of the other odds), float64 [n]: sure answers do not all round to 0 and tie."""
    top, winner = log_p.max(dim=1, keepdim=True)
    others = log_p.scatter(1, winner, -torch.inf).logsumexp(dim=1)
    return -torch.nn.functional.softplus(others - top.squeeze(1))


def energy_undefined(logits: Tensor) -> str | None:
    """Why logsumexp says nothing here, or None: probabilities, or a spread of logsumexp below 1e-4."""
    rows = logits[torch.isfinite(logits).all(dim=1)]
    if len(rows) == 0:
        return "no finite logits"
    if output_kind(rows) == "probs":
        return "the model returns probabilities; energy is undefined"
    energy = rows.double().logsumexp(dim=1)
    if float(energy.max() - energy.min()) < FLAT:
        return "the model returns normalised log-probabilities; energy is undefined"
    return None


def kinship(log_p: Tensor, edge_index: Tensor) -> Tensor:
    """How likely both ends of each arc are of one class, by their posteriors, float64 [E].

    Source: the idea of Ma et al., "Revisiting score propagation in graph out-of-distribution detection" (GRASP),
    NeurIPS 2024: edges between items of one kind help a propagated score, others harm it. GRASP adds edges where
    that is likely; here those that are there are weighed by it.
    """
    p = log_p.exp()
    return (p[edge_index[0]] * p[edge_index[1]]).sum(dim=1)


def propagate(
    energy: Tensor,
    edge_index: Tensor,
    *,
    weight: Tensor | None = None,
    steps: int = 2,
    alpha: float = 0.5,
    isolated: str = "keep",
) -> Tensor:
    """Smooths scores over the graph: e <- alpha e + (1 − alpha) D⁻¹ A e, float64 [N].

    Args:
        energy: [N].
        edge_index: directed edges [2, E]; a node averages over the sources of its incoming edges, loops left out.
        weight: of each arc, >= 0, [E]; 1 by default.
        steps: K.
        alpha: own share.
        isolated: `keep` leaves a node without neighbours as it is; `decay` shrinks it towards 0 as published, which
            fakes a detection wherever edges were removed.

    Source: Wu et al., "Energy-based out-of-distribution detection for graph neural networks" (GNNSafe), ICLR 2023.
    """
    apart = edge_index[0] != edge_index[1]
    source, sink = edge_index[:, apart]
    held = torch.ones_like(sink, dtype=energy.dtype) if weight is None else weight[apart]
    degree = torch.zeros_like(energy).index_add_(0, sink, held)
    least = 1.0 if weight is None else torch.finfo(energy.dtype).tiny
    for _ in range(steps):
        mean = torch.zeros_like(energy).index_add_(0, sink, held * energy[source]) / degree.clamp_min(least)
        moved = alpha * energy + (1 - alpha) * mean
        energy = torch.where(degree > 0, moved, energy) if isolated == "keep" else moved
    return energy
