"""What an adversary reads off answers about edited graphs: which attacked items are wrong, and how nearly the rest."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from auditor.view import View

Answers = Literal["scores", "labels"]


class Asked:
    """Asks about flip sets, and reads the answers about the attacked items.

    Args:
        view: what the adversary was granted.
        answers: whether probabilities are read, or the class of each item alone.
    """

    def __init__(self, view: View, answers: Answers) -> None:
        self._queries, self._task, self._items = view.edit_queries, view.task, view.items
        self._y, self._scores = view.y[view.items], answers == "scores"

    @property
    def left(self) -> int:
        """Queries that are still answered."""
        return self._queries.left

    def clean(self) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """The class of every item as nothing is edited, −1 where that is no number, and which attacked ones are right.

        One query.
        """
        found = self._task.answers(self._queries(torch.empty(0, dtype=torch.int64)))
        return found.numpy(), (found[self._items] == self._y).numpy()

    def about(self, keys: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
        """Which attacked items are wrong, bool [n], and tanh(−margin) of each, 0 where classes alone are read."""
        answers: Tensor = self._queries(torch.from_numpy(keys))[self._items]
        wrong = ~self._task.correct(answers, self._y)
        near = torch.zeros(wrong.shape, dtype=torch.float64)
        if self._scores:
            near = torch.nan_to_num(torch.tanh(-self._task.margin(answers, self._y)), nan=1.0)
        return wrong.numpy(), near.numpy()
