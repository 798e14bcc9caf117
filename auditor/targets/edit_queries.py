"""Queries about edited graphs: what a service answers when somebody hands in the graph with some edges toggled.

Whoever asks holds an `EditQueries`, which names the oracle behind it and holds nothing: neither weights nor gradients.
Every query is counted, and past the last one nothing is answered.
"""

from __future__ import annotations

from collections.abc import Callable
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from auditor.data.edits import EdgeSpace
from auditor.errors import AccessError
from auditor.targets.memo import LinearMemo
from auditor.targets.target import Target
from auditor.tasks import log_probabilities, output_kind

MOST = 500
"""Queries that are answered where nobody says how many."""


class EditQueries:
    """A service that answers about the graph with the pairs `keys` toggled: `queries(keys) -> probabilities`.

    An opaque handle: it holds neither model nor graph, nor the count, which whoever asks has no hand in. One query is
    one edited graph, however many rows are answered; of many graphs each one that is edited is a query.
    """

    __slots__ = ("__weakref__",)

    @property
    def most(self) -> int:
        """Queries that are answered in all."""
        return _ORACLES[self].most

    @property
    def count(self) -> int:
        """Queries so far."""
        return _ORACLES[self].count

    @property
    def rows(self) -> int:
        """Rows of answers that were read so far."""
        return _ORACLES[self].rows

    @property
    def left(self) -> int:
        """Queries that are still answered."""
        return self.most - self.count

    def __call__(self, keys: Tensor) -> Tensor:
        """What is answered about every item once the pairs `keys` int64 [k] are toggled, float64 [N, C] or [B, C].

        Probabilities as they are served: rounded, or one for the class alone, where that is what is served.

        Raises:
            AccessError: every query is spent.
        """
        oracle = _ORACLES[self]
        asked = oracle.asked(keys)
        if asked > self.left:
            raise AccessError(
                f"{asked} more queries were asked for, {self.count} of {self.most} are spent. Raise max_queries, or "
                "stop at `left`."
            )
        answers = oracle.answer(keys)
        oracle.count += asked
        oracle.rows += int(answers.shape[0])
        if oracle.watch is not None:
            oracle.watch(self, answers)
        return answers.clone()


Watch = Callable[["EditQueries", Tensor], None]
"""What the harness looks at after each query: the handle, its count already raised, and the answers."""


def open_edit_queries(
    target: Target, *, most: int = MOST, digits: int | None = None, watch: Watch | None = None
) -> EditQueries:
    """A handle to the service that `target` is, for graphs that are handed in; it lives as long as the handle.

    Args:
        target: whose graph is edited.
        most: queries that are answered.
        digits: decimals that the service rounds to, beside what the model itself does; None for exact.
        watch: is told of every query.
    """
    handle = EditQueries()
    _ORACLES[handle] = _Oracle(target, most, digits, watch)
    return handle


class _Oracle:
    """The model on edited graphs, and what was asked of it."""

    def __init__(self, target: Target, most: int, digits: int | None, watch: Watch | None) -> None:
        self.most, self.count, self.rows = most, 0, 0
        self._space, self._digits, self.watch = EdgeSpace.of(target.graph), digits, watch
        self._handle = target.handle()
        self._kind = output_kind(target.clean_logits())
        self._memo = LinearMemo(self._handle.model)  # the features are the same in every query
        self._memo.fix(self._space.graph.x)

    def asked(self, keys: Tensor) -> int:
        """Queries that these edits are."""
        graph = self._space.graph
        if graph.batch is None:
            return 1
        return max(1, int(torch.unique(graph.batch[keys // graph.num_nodes]).numel()))

    def answer(self, keys: Tensor) -> Tensor:
        """Probabilities as they are served."""
        g = self._space.toggled(keys)
        with torch.no_grad():
            logits = self._handle.logits(self._space.graph.x, g.edge_index, g.edge_weight, g.batch, g.fields)
        served = log_probabilities(logits, kind=self._kind).exp()
        return served if self._digits is None else served.round(decimals=self._digits)


_ORACLES: WeakKeyDictionary[EditQueries, _Oracle] = WeakKeyDictionary()
"""What answers each handle: here, and not in it, so that no view leads to weights or a gradient."""
