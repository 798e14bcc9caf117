"""What a model predicts: the level of its items times the kind of answer, and everything that follows from the two."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

Level = Literal["node", "edge", "graph"]
Mode = Literal["multiclass"]


@dataclass(frozen=True, slots=True)
class Task:
    """The value that every harness asks about answers: what is right, what is lost, what a constant would reach.

    Attributes:
        level: what an item is; the word of PyG's `ModelConfig`.
        mode: how it is answered: one class of C, given by C logits.
    """

    level: Level
    mode: Mode = "multiclass"

    def answers(self, logits: Tensor) -> Tensor:
        """The class of each item, int64 [n]; −1 for a row [C] with a non-finite logit."""
        return torch.where(_is_finite(logits), logits.argmax(dim=1), -1)

    def correct(self, logits: Tensor, y: Tensor) -> Tensor:
        """Whether each item is answered right, bool [n]; a row with a non-finite logit is wrong.

        argmax of NaN silently returns a class, hence the explicit check.
        """
        return (logits.argmax(dim=1) == y) & _is_finite(logits)

    def quality(self, logits: Tensor, y: Tensor) -> Tensor:
        """How good each answer is, float64 [n] in [0, 1]: 1 where it is right."""
        return self.correct(logits, y).double()

    def loss(self, logits: Tensor, y: Tensor) -> Tensor:
        """Cross-entropy of each item, [n]; gradients flow."""
        return functional.cross_entropy(logits, y, reduction="none")

    def margin(self, logits: Tensor, y: Tensor) -> Tensor:
        """Log posterior of the own class less that of the best other one, float64 [n]; below 0 where it is wrong.

        Source: Carlini and Wagner, "Towards Evaluating the Robustness of Neural Networks", S&P 2017 (the margin loss).
        """
        log_p = log_probabilities(logits)
        own = log_p.gather(1, y[:, None])[:, 0]
        return own - log_p.scatter(1, y[:, None], float("-inf")).max(dim=1).values

    def constant_quality(self, y: Tensor) -> float:
        """What the best constant answer reaches on items labelled y [n]: the share of the commonest class."""
        return int(torch.bincount(y).max()) / int(y.numel())


def log_probabilities(logits: Tensor, *, kind: str | None = None) -> Tensor:
    """Log posteriors in float64, [N, C]; rows that already are probabilities or log-probabilities are recognised.

    `kind` says what they are where that is known of rows that these are a few of, see `output_kind`.
    """
    z = logits.double()
    if (output_kind(logits) if kind is None else kind) == "probs":
        return z.clamp_min(1e-300).log()
    return z.log_softmax(dim=1)


def output_kind(logits: Tensor) -> str:
    """`probs` when every row is in [0, 1] and sums to 1 ± 1e-4, `log_probs` for normalised logs, else `logits`."""
    z = logits.double()
    ones = torch.ones(z.shape[0], dtype=torch.float64)
    if bool((z >= 0).all()) and torch.allclose(z.sum(dim=1), ones, atol=1e-4):
        return "probs"
    if bool((z <= 1e-6).all()) and torch.allclose(z.exp().sum(dim=1), ones, atol=1e-4):
        return "log_probs"
    return "logits"


def _is_finite(logits: Tensor) -> Tensor:
    return torch.isfinite(logits).all(dim=1)
