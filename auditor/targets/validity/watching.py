"""What a forward calls inside, seen while it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

SORTS = frozenset({"sort", "argsort", "topk", "msort"})
DROPOUTS = frozenset({"dropout", "dropout_", "alpha_dropout", "alpha_dropout_", "feature_dropout", "dropout_edge"})


class Watch(TorchFunctionMode):
    """Notes sorts of real keys, whether two keys of one were equal, and dropout that is on.

    Attributes:
        sorts: how many sorts of floating-point keys.
        tied: how many of them had equal keys.
        drops: how often dropout was called as in training.
    """

    def __init__(self) -> None:
        super().__init__()
        self.sorts = self.tied = self.drops = 0

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Runs `func` as it is, and notes what it was."""
        named = dict(kwargs or {})
        name = getattr(func, "__name__", "")
        if name in SORTS:
            self._sorted(name, args, named)
        elif name in DROPOUTS:
            given = {**dict(zip(("input", "p", "training"), args, strict=False)), **named}
            self.drops += bool(given.get("training", True)) and bool(given.get("p", 0.5))
        return func(*args, **named)

    def _sorted(self, name: str, args: Sequence[Any], named: Mapping[str, Any]) -> None:
        keys = args[0] if args else named.get("input")
        if not isinstance(keys, Tensor) or not torch.is_floating_point(keys) or not keys.dim():
            return
        places = {"topk": 2, "msort": 9}
        place = places.get(name, 1)
        axis = named.get("dim", args[place] if len(args) > place else 0 if name == "msort" else -1)
        if not isinstance(axis, int) or isinstance(axis, bool):
            axis = -1
        ordered = torch.sort(keys.detach(), dim=axis).values  # a mode is off inside itself
        length = ordered.shape[axis]
        self.sorts += 1
        if length > 1:
            first, second = ordered.narrow(axis, 0, length - 1), ordered.narrow(axis, 1, length - 1)
            self.tied += bool((first == second).any())
