"""Copies of a user's model, and what a parallel or compiled wrapper holds."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from auditor.errors import LoadError
from auditor.targets.rng import forked_rng

WRAPPERS = (nn.DataParallel, nn.parallel.DistributedDataParallel)


def copied(model: nn.Module) -> nn.Module:
    """A copy that computes the same, with nothing of the graphs that layers saw last.

    Raises:
        LoadError: a part cannot be copied, or PyG copies it into something else.
    """
    try:
        with forked_rng():  # PyG's Sequential draws from `random` when it is copied
            own = copy.deepcopy(model, _traces(model))
    except Exception as error:  # whatever a user's attribute answers to being copied
        raise LoadError(
            f"{type(model).__name__} cannot be copied ({type(error).__name__}: {error}). Detach or delete tensors that "
            "it keeps from its last forward."
        ) from None
    for (name, module), other in zip(model.named_modules(), own.modules(), strict=True):
        given, made = (getattr(vars(each).get("forward"), "__code__", None) for each in (module, other))
        if given != made:
            raise LoadError(
                f"{name or 'the model'} is a {type(module).__name__} that runs the forward of another one: PyG names "
                "what it generates by a draw from Python's random, and both were made after the same random.seed. Make "
                "and train each in a process of its own, or seed Python's random once."
            )
    return own


def _traces(model: nn.Module) -> dict[int, Any]:
    """What layers keep of their last forward and cannot be copied, by id: detached, or None for a sparse cache."""
    memo: dict[int, Any] = {}
    for module in model.modules():
        for value in vars(module).values():
            for part in value if isinstance(value, tuple | list) else (value,):
                if isinstance(part, Tensor) and not (part.is_leaf and part.layout == torch.strided):
                    memo[id(part)] = part.detach().clone() if part.layout == torch.strided else None
    return memo


def unwrapped(model: nn.Module) -> tuple[nn.Module, list[str]]:
    """What a parallel or compiled wrapper holds, and the wrappers' class names; a model that is none, as it is."""
    names = []
    while (inner := _inside(model)) is not None:
        names.append(type(model).__name__)
        model = inner
    return model, names


def unwrap_parts(model: nn.Module) -> list[str]:
    """Puts what each wrapped part holds in its place; their names."""
    parts = []
    for name, child in list(model.named_modules()):
        bare, wrappers = unwrapped(child)
        if name and wrappers:
            parent, _, last = name.rpartition(".")
            setattr(model.get_submodule(parent), last, bare)
            parts.append(name)
    return parts


def _inside(model: nn.Module) -> nn.Module | None:
    """What a parallel or compiled wrapper holds; None for a model that is no wrapper."""
    if isinstance(model, WRAPPERS):
        return model.module  # type: ignore[no-any-return]
    return model._modules.get("_orig_mod")  # torch.compile; its class lives in a package that is slow to import
