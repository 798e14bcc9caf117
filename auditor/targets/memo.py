"""Remembers what the first linear maps of a frozen model make of a fixed x.

An attack calls one model a hundred times on the same features and other edges. On wide features (1433 words on Cora)
the product x W costs more than the rest of the forward pass, and it never changes.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch_geometric.nn.dense.linear import Linear as PyGLinear

from auditor.targets.sparse_rows import SparseRows


class LinearMemo:
    """Replaces the forward of each linear layer of a private model copy by one that answers a known x from memory.

    Exact: only the very tensor object given to `fix`, unchanged since, without gradient, is answered from memory, and
    an answer that a model later overwrote in place is thrown away.
    """

    def __init__(self, model: nn.Module) -> None:
        self._x: Tensor | None = None
        self._x_version = -1
        self._answers: dict[int, tuple[Tensor, int]] = {}
        self.rows: SparseRows | None = None
        for number, module in enumerate(m for m in model.modules() if isinstance(m, nn.Linear | PyGLinear)):
            if not any(p.requires_grad for p in module.parameters()) and not module._forward_hooks:
                setattr(module, "forward", self._remembering(number, module.forward))  # noqa: B010

    def fix(self, x: Tensor) -> None:
        """From now on x [N, F] is the tensor whose products are remembered; another one drops what was known.

        `rows` are its non-zero entries, None when it is dense or wants a gradient.
        """
        if x.requires_grad or x is not self._x or x._version != self._x_version:
            self._answers.clear()
            self.rows = None if x.requires_grad else SparseRows.of(x)
        self._x, self._x_version = (None, -1) if x.requires_grad else (x, x._version)

    def _remembering(self, number: int, forward: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        def call(x: Tensor) -> Tensor:
            if x is not self._x or x._version != self._x_version:
                return forward(x)
            answer, version = self._answers.get(number, (None, -1))
            if answer is None or answer._version != version:
                answer = forward(x)
                self._answers[number] = (answer, answer._version)
            return answer

        return call
