"""GraphMI without the weights: asks about made-up graphs, and moves towards those under which the answers are right."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from attacks.privacy.neighbours import is_flat, nearest, pair_keys
from attacks.privacy.soft_graphs import project_
from auditor.errors import SkippedError
from auditor.outcomes import LinkOutcome
from auditor.parameters import Circumstances, Only, parameters
from auditor.probe import Attempt
from auditor.statistics.pair_scores import PairScore, log_posteriors, row_cosine
from auditor.targets.own_queries import OwnQueries
from auditor.view import View


def _steps(queries: int, pairs: int) -> int:
    return max(0, queries - 1) // (2 * pairs)  # one goes to the graph without edges


def _no_step(here: Circumstances) -> str:
    queries, pairs = here.values["queries"], here.values["pairs"]
    return "" if _steps(queries, pairs) else f"queries={queries} are too few for a step of 2 · {pairs} graphs"


STEPS = Only(unless=_no_step)


@parameters
class BlackboxGraphMI:
    """Lowers the expected share of wrong answers over random graphs, by asking about some of them.

    Each pair of the candidates is an edge with probability a, and J(a) = E[f(A)] + alpha |a|_2 is lowered, f(A) being
    the share of known labels that the model misses on the graph A. In each step 20 pairs of graphs are drawn, the
    second of a pair from 1 - U where the first is from U, and a goes against

        1/s (mean over graphs of (f(A) - mean f) (A - a)  +  alpha a (1 - a) a / |a|_2),    s the deviation of f,

    the score-function estimate of the gradient less a baseline, times a (1 - a): the natural gradient of Bernoulli
    variables, which does not grow without bound as a comes near 0 or 1. It is then projected as in GraphMI on [0, 1]
    with sum a <= rho N / 2. A pair scores by its a, pairs of equal a by the cosine of their features.

    Args:
        queries: graphs that are asked about, the one without edges among them; 0 asks nothing and leaves every a as it
            was at first, equal on all candidates: the control of what answers add.
        pairs: antithetic pairs of graphs a step.
        k: candidates per node and source: nearest by features, and nearest by the answers on no edges.
        eta: step size.
        alpha: weight of |a|_2, that of GraphMI.

    Source: Zhang et al., "Model inversion attacks against graph neural networks", TKDE 2022 (arXiv 2209.07807), the
    black-box attack. The antithetic pairs, the natural gradient, the standardised loss and the budget are ours.
    """

    queries: Annotated[int, Field(ge=0)] = 5_000
    pairs: Annotated[int, Field(ge=1), STEPS] = 20
    k: Annotated[int, Field(ge=1)] = 20
    eta: Annotated[float, Field(gt=0), STEPS] = 1.0
    alpha: Annotated[float, Field(ge=0), STEPS] = 1e-3

    def unasked(self) -> BlackboxGraphMI:
        """The same without a query."""
        return replace(self, queries=0)

    def run(self, view: View, attempt: Attempt) -> LinkOutcome:
        """Asks and descends, and returns the scorer with notes on the candidates and the share of wrong answers.

        Raises:
            SkippedError: no label is known.
        """
        nodes = torch.nonzero(view.known).flatten()
        if not nodes.numel():
            raise SkippedError("without a known label no answer can be told to be wrong. Grant labels.")
        own, n = view.own_queries, view.num_nodes
        keys = self._candidates(view)
        a = torch.full((keys.numel(),), min(1.0, view.density * n / 2 / max(1, keys.numel())))
        steps = _steps(self.queries, self.pairs)
        notes: dict[str, Any] = {"candidates": keys.numel(), "labels_used": nodes.numel(), "steps": steps}
        losses = list[float]()
        for t in range(steps if keys.numel() else 0):
            graphs = [each for _ in range(self.pairs) for each in _drawn(a, attempt.torch_rng)]
            wrong = torch.tensor([_wrong(own, _arcs(keys[graph], n), view.y, nodes) for graph in graphs])
            losses.append(float(wrong.mean()))
            self._step_(a, graphs, wrong, view.density * n / 2)
            attempt.tick((t + 1) / steps, f"{own.asked} graphs asked about")
        if losses:
            notes |= {"wrong_start": losses[0], "wrong_end": losses[-1]}
        return LinkOutcome(_score(keys, a, row_cosine(view.x), n), notes)

    def _candidates(self, view: View) -> Tensor:
        """Keys of the union over nodes of the k nearest by features and by answers on no edges; sorted int64 [M]."""
        found = [] if is_flat(view.x) else [nearest(view.x, self.k)]
        if self.queries:
            answers = view.own_queries.ask(torch.empty(2, 0, dtype=torch.int64))
            p = answers.softmax(dim=1) if view.own_queries.outputs == "logits" else answers
            rows = log_posteriors(p)
            if bool(torch.isfinite(rows).all()):
                found.append(nearest(rows - rows.mean(dim=1, keepdim=True), self.k))
        return torch.unique(torch.cat(found)) if found else torch.empty(0, dtype=torch.int64)

    def _step_(self, a: Tensor, graphs: list[Tensor], wrong: Tensor, budget: float) -> None:
        """One step of a [M], in place; graphs that are all equally wrong say nothing."""
        spread = float(wrong.std(correction=0))
        if spread == 0:
            return
        ahead = (wrong - wrong.mean()) / (spread * len(graphs))
        gradient = torch.zeros_like(a)  # the weights of `ahead` add up to 0, so that the share of a itself does too
        for graph, weight in zip(graphs, ahead.tolist(), strict=True):
            gradient.add_(graph, alpha=weight)
        norm = float(a.norm())
        if norm > 0:
            gradient.add_(a * (1 - a) * a, alpha=self.alpha / (norm * spread))
        a.sub_(gradient, alpha=self.eta)
        project_(a, budget)


def _drawn(a: Tensor, rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """Two graphs, bool [M] each: a pair is an edge of either with probability a, and of both as seldom as can be."""
    uniform = torch.rand(a.shape, generator=rng)
    return uniform < a, 1 - uniform <= a


def _arcs(keys: Tensor, n: int) -> Tensor:
    """Both arcs of each pair, int64 [2, E]."""
    u, v = keys // n, keys % n
    return torch.stack([torch.cat([u, v]), torch.cat([v, u])])


def _wrong(own: OwnQueries, arcs: Tensor, y: Tensor, nodes: Tensor) -> float:
    """Share of the labels at these nodes that the model misses on a graph; an answer that is no number misses."""
    answers = own.ask(arcs)[nodes]
    right = (answers.argmax(dim=1) == y[nodes]) & torch.isfinite(answers).all(dim=1)
    return 1 - float(right.double().mean())


def _score(keys: Tensor, a: Tensor, cosine: PairScore, n: int) -> PairScore:
    """Ranks of a, 0 for a pair that is no candidate, and inside a rank the cosine."""
    levels = torch.unique(a[a > 0])
    rank = torch.where(a > 0, torch.searchsorted(levels, a) + 1, 0).double()

    def score(pairs: Tensor) -> Tensor:
        within = (cosine(pairs) + 1) / 3  # in [0, 1)
        if not keys.numel():
            return within
        wanted = pair_keys(pairs[0], pairs[1], n)
        place = torch.searchsorted(keys, wanted).clamp_max(keys.numel() - 1)
        return within + torch.where(keys[place] == wanted, rank[place], 0)

    return score
