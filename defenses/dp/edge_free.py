"""A network that ignores every edge it is given: how the edge-free control is served."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from auditor.targets.forward import WEIGHT_NAMES
from auditor.targets.target import Capability, Target
from auditor.targets.user_imports import with_forward


def edge_free(model: nn.Module) -> nn.Module:
    """The same module, whose forward drops `edge_index` and edge weights; parameter names stay as they were."""
    return with_forward(model, _without_edges)


def without_edge_gradient(target: Target) -> Target:
    """The target less the capability that a model which drops its edges has not."""
    return replace(target, capabilities=target.capabilities - {Capability.GRAD_EDGE})


def _without_edges(forward: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(forward)
    def without_edges(self: nn.Module, x: Tensor, edge_index: Tensor, *args: Any, **kwargs: Any) -> Any:
        weights = {name: kwargs[name][:0] for name in WEIGHT_NAMES if kwargs.get(name) is not None}
        return forward(self, x, edge_index[:, :0], *args, **kwargs | weights)

    return without_edges
