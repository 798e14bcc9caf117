"""What the same adversary guesses about edges without the model: scores from features and labels alone.

None of these reads the private graph. Two more controls need a model and are made in `twins`: an untrained network of
the same shape, and a twin trained on a rewired graph.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from torch import Tensor, nn
from torch.nn import functional

from auditor.shared import Shared, content
from auditor.statistics.pair_scores import (
    PairScore,
    in_blocks,
    is_sparse,
    log_posterior_similarity,
    of_ids,
    row_cosine,
    row_products,
)
from auditor.targets.rng import forked_rng

FLAT = 1e-6  # a spread below this, relative to the mean, is rounding


@dataclass(frozen=True, slots=True, eq=False)
class Knowledge:
    """Side knowledge of an adversary without the model.

    Attributes:
        x: features [N, F], or None.
        y: labels int64 [N], -1 where unknown, or None.
        num_classes: C.
        reference_pairs: R, int64 [2, R]: where a score's mean and spread are taken, never on the evaluated pairs.
    """

    x: Tensor | None
    y: Tensor | None
    num_classes: int
    reference_pairs: Tensor

    @property
    def words(self) -> tuple[str, ...]:
        """What is known: `features`, `labels`."""
        return tuple(word for word, value in (("features", self.x), ("labels", self.y)) if value is not None)


@dataclass(frozen=True, slots=True, eq=False)
class Scorer:
    """Whoever scores pairs, the attack or a control.

    Attributes:
        name: its name in the document.
        scores: one score, or one per draw of the same thing: then the mean of their metrics is what it reaches.
        twin: whether it is a twin on a rewired graph, see `auditor.document.Control`.
        reference: of each score, its values on the reference pairs, ascending; empty until it is prepared.
        in_reverse: whether the scores are the negatives of what was claimed.
    """

    name: str
    scores: tuple[PairScore, ...] = field(repr=False)
    twin: bool = False
    reference: tuple[NDArray[np.float64], ...] = field(default=(), repr=False)
    in_reverse: bool = False


def no_model_controls(knowledge: Knowledge, *, seed: int, shared: Shared | None = None) -> list[Scorer]:
    """Every control that the side knowledge allows; none without any, and then the control is chance.

    Both forms of the feature cosine run, since either can be the stronger one. With features and labels a network
    without edges is trained, whose answers are compared like served ones, alone and beside features and labels: it is
    what anybody could train who holds what this adversary holds. It is trained once for everybody who shares `shared`.
    """
    shared = Shared() if shared is None else shared
    controls, x, y, r = [], knowledge.x, knowledge.y, knowledge.reference_pairs
    features: dict[str, PairScore] = {}
    if x is not None:
        features = {"features": row_cosine(x), "features-standardised": standardised_cosine(x)}
        controls += [Scorer(name, (score,)) for name, score in features.items()]
    if y is None or not bool((y >= 0).any()):
        return controls
    known = y >= 0
    fill = x is not None and float(known.double().mean()) < 0.8
    mlp = None
    if x is not None:
        key = ("mlp", content(x, y, knowledge.num_classes, seed))
        mlp = shared.once(key, partial(mlp_log_posteriors, x, y, knowledge.num_classes, seed=seed))
    filled = y if mlp is None or not fill else torch.where(known, y, mlp.argmax(dim=1))
    labels = label_agreement(filled, knowledge.num_classes)
    controls.append(Scorer("labels", (labels,)))
    by_labels = standardise(labels, r)
    both = {f"{name}+labels": _sum(standardise(score, r), by_labels) for name, score in features.items()}
    controls += [Scorer(name, (score,)) for name, score in both.items()]
    if mlp is not None:
        answers = log_posterior_similarity(mlp, neighbourhood=torch.unique(r[0])[:512])
        by_answers = standardise(answers, r)
        controls.append(Scorer("mlp", (answers,)))
        controls += [Scorer(f"{name}+mlp", (_sum(score, by_answers),)) for name, score in both.items()]
    return controls


def standardised_cosine(x: Tensor) -> PairScore:
    """Cosine after every column has mean 0 and deviation 1, constant columns dropped.

    Expanded as <x_u, x_v>_w - c_u - c_v + c with w = 1 / var, so that sparse features stay sparse.
    """
    h = x.double()
    mean, deviation = h.mean(dim=0), h.std(dim=0, correction=0)
    kept = deviation > FLAT * mean.abs().clamp_min(1e-12)
    if not bool(kept.any()):
        return lambda pairs: torch.zeros(pairs.shape[1], dtype=torch.float64)
    h, mean, deviation = h[:, kept], mean[kept], deviation[kept]
    if not is_sparse(x):
        return row_cosine((h - mean) / deviation)
    scaled = csr_array((h / deviation).numpy())
    center = (mean / deviation).numpy()
    to_center, square = np.asarray(scaled @ center), float(center @ center)
    norm = np.sqrt(np.maximum(np.asarray(scaled.multiply(scaled).sum(axis=1)).ravel() - 2 * to_center + square, 0))
    norm = np.where(norm > 0, norm, np.inf)  # a row at the mean scores 0

    def score(u: np.ndarray, v: np.ndarray) -> np.ndarray:
        inner = row_products(scaled, u, v) - to_center[u] - to_center[v] + square
        return np.asarray(inner / (norm[u] * norm[v]))

    return of_ids(score)


def label_agreement(y: Tensor, num_classes: int) -> PairScore:
    """1[y_u = y_v]; with one label unknown the prior of the known one, with both unknown the chance of agreement."""
    known = y[y >= 0]
    prior = torch.bincount(known, minlength=num_classes).double() / known.shape[0]
    padded = torch.cat([prior, torch.zeros(1, dtype=torch.float64)])  # index -1 is looked up but not used
    both = float((prior**2).sum())

    def score(pairs: Tensor) -> Tensor:
        a, b = y[pairs[0]], y[pairs[1]]
        one = torch.where(a < 0, padded[b], padded[a])
        guess = torch.where((a < 0) & (b < 0), both, one)
        return torch.where((a >= 0) & (b >= 0), (a == b).double(), guess)

    return in_blocks(score, 4)


def standardise(score: PairScore, reference: Tensor) -> PairScore:
    """z(s) = (s - mean over R) / deviation over R; 0 everywhere where the score is constant on R.

    Moments come from uniform pairs: those of a balanced set would weaken the control and enlarge the leak.
    """
    values = score(reference)
    mean, deviation = float(values.mean()), float(values.std())
    if not deviation > FLAT * max(abs(mean), FLAT):
        return lambda pairs: torch.zeros(pairs.shape[1], dtype=torch.float64)
    return lambda pairs: (score(pairs) - mean) / deviation


def mlp_log_posteriors(x: Tensor, y: Tensor, num_classes: int, *, seed: int) -> Tensor:
    """Log-posteriors float64 [N, C] of a two-layer network without edges, trained on the known labels.

    64 hidden units, dropout 0.5, Adam 0.01, weight decay 5e-4, 200 epochs on all known nodes at once.
    """
    known = torch.nonzero(y >= 0).flatten()
    inputs, targets = dropped_rows(x[known]), y[known]
    with forked_rng(seed):
        first, second = nn.Linear(x.shape[1], 64), nn.Linear(64, num_classes)
        parameters = [*first.parameters(), *second.parameters()]
        optimizer = torch.optim.Adam(parameters, lr=0.01, weight_decay=5e-4)
        for _ in range(200):
            optimizer.zero_grad()
            hidden = functional.dropout((inputs(first.weight) + first.bias).relu())
            functional.cross_entropy(second(hidden), targets).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    with torch.no_grad():
        log_p: Tensor = second(first(x).relu()).double().log_softmax(dim=1)
    return log_p


def dropped_rows(x: Tensor) -> Callable[[Tensor], Tensor]:
    """Dropout(x) W^T as a function of W [H, F], drawn at each call; of sparse features only what is not 0 is drawn."""
    if not is_sparse(x):
        return lambda weight: functional.dropout(x) @ weight.T
    row, column = torch.nonzero(x, as_tuple=True)
    values, starts = x[row, column], torch.searchsorted(row, torch.arange(x.shape[0]))
    return lambda weight: functional.embedding_bag(
        column, weight.T, starts, mode="sum", per_sample_weights=functional.dropout(values)
    )


def is_identity(x: Tensor) -> bool:
    """Whether features only name the node: one non-zero a row, no column shared."""
    return bool(((x != 0).sum(dim=1) == 1).all()) and bool(((x != 0).sum(dim=0) <= 1).all())


def _sum(first: PairScore, second: PairScore) -> PairScore:
    return lambda pairs: first(pairs) + second(pairs)
