"""Fits weights by name into a model that a table or a factory built: strictly, with the nearest remedy in words."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from auditor.errors import LoadError, nearest

SHOWN = 10


def fit_weights(
    model: nn.Module,
    weights: Mapping[str, Tensor],
    *,
    file: str,
    table: str = "[model]",
    prefix: str | None = None,
    dry_forward: Callable[[], None] | None = None,
) -> dict[str, Any]:
    """Loads `weights` strictly into `model`, in place, and makes the model float32; returns notes for the provenance.

    One prefix of all names (`module.`, `_orig_mod.`, any) is stripped where the rest fits exactly, and so are the names
    of compiled and parallel wrappers inside, which `model` has none of. Layers whose sizes come from their first
    forward take them from the weights, or from `dry_forward` where they cannot.

    Args:
        model: as its table or factory built it.
        weights: by name.
        file: of the weights, for messages.
        table: what built the model, for messages.
        prefix: `[target] strip_prefix`.
        dry_forward: runs the model once on its graph.

    Raises:
        LoadError: missing, unexpected or wrongly shaped tensors, ten at most, with the nearest rename; several
            prefixes fit; or the dry forward failed.
    """
    own = model.state_dict(keep_vars=True)  # some uninitialised parameters cannot even be detached
    given, notes = _stripped(own, weights, prefix, file)
    if not _fits(own, given):
        raise _misfit(own, given, file, table)
    failed: Exception | None = None
    try:
        model.load_state_dict(dict(given), strict=True)
    except (
        RuntimeError,
        IndexError,
        ValueError,
        TypeError,
        MemoryError,
    ) as error:  # hooks of lazy layers read the shapes they are given
        failed = error
    if any(map(is_lazy, model.state_dict(keep_vars=True).values())):
        _run_dry(dry_forward, file, table)
        return fit_weights(model, weights, file=file, table=table, prefix=prefix)
    if not _fits(model.state_dict(keep_vars=True), given):  # a lazy layer knows its shape by now
        raise _misfit(model.state_dict(keep_vars=True), given, file, table)
    if failed is not None:
        raise LoadError(f"{file} does not fit {table}: {failed}. Correct the one or the other.")
    return notes | as_float32(model)


def as_float32(model: nn.Module) -> dict[str, Any]:
    """Casts parameters and buffers, in place; a note for the provenance where there was anything to cast."""
    values = [*model.named_parameters(), *model.named_buffers()]
    cast = {name: v.dtype for name, v in values if v.is_floating_point() and v.dtype != torch.float32}
    if not cast:
        return {}
    model.float()
    return {"model_cast_to_float32": {name: str(dtype).removeprefix("torch.") for name, dtype in cast.items()}}


def _run_dry(dry_forward: Callable[[], None] | None, file: str, table: str) -> None:
    """The forward that gives lazy layers their sizes."""
    why = "there is no graph to run it on"
    if dry_forward is not None:
        try:
            with torch.no_grad():
                return dry_forward()
        except Exception as error:  # a user's forward may raise anything
            why = f"{type(error).__name__}: {error}"
    raise LoadError(
        f"{file} cannot be put into {table}: its layers take their sizes from a first forward, which failed ({why}). "
        "Give the sizes in the constructor, or the graph it was trained on."
    )


def _fits(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> bool:
    """Whether the names are equal and every shape that is known."""
    return own.keys() == given.keys() and not _other_shapes(own, given)


def _other_shapes(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> list[str]:
    return [key for key, v in own.items() if key in given and not is_lazy(v) and v.shape != given[key].shape]


def _stripped(
    own: Mapping[str, Tensor], weights: Mapping[str, Tensor], prefix: str | None, file: str
) -> tuple[Mapping[str, Tensor], dict[str, Any]]:
    """The weights without the prefix that makes them fit, and notes: the prefix, and what lies outside of it."""

    def under(start: str) -> dict[str, Tensor]:
        return {key.removeprefix(start): value for key, value in weights.items() if key.startswith(start)}

    if prefix is None:
        if _fits(own, weights) or not own:
            return weights, {}
        first = next(iter(own))
        starts = dict.fromkeys(key.removesuffix(first) for key in weights if key.endswith(f".{first}"))
        whole = [start for start in starts if all(f"{start}{key}" in weights for key in own)]
        fitting = [start for start in whole if _fits(own, under(start))]
        if len(fitting) > 1:
            raise LoadError(
                f"{file} holds {len(fitting)} sets of weights that fit, under {', '.join(fitting[:SHOWN])}; expected "
                f'one. Set [target] strip_prefix, as in strip_prefix = "{fitting[0]}".'
            )
        if not fitting:
            tried = (_stripped(own, bare, None, file) for bare in _unwrapped(weights))
            return next((found for found in tried if _fits(own, found[0])), (weights, {}))
        prefix = fitting[0]
    prefix = prefix if prefix.endswith(".") else f"{prefix}."
    if not under(prefix):
        starts = dict.fromkeys(key.partition(".")[0] + "." for key in weights)
        raise LoadError(f'{file} has no name under strip_prefix = "{prefix}". {nearest(prefix, starts)}')
    outside = [key for key in weights if not key.startswith(prefix)]
    return under(prefix), {"stripped_prefix": prefix} | ({"left_over": outside} if outside else {})


def _unwrapped(weights: Mapping[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    """The weights by the names that they have without compiled parts, and without parallel ones."""
    for wrapper in (r"\b_orig_mod\.", r"\b(_orig_mod|module)\."):
        bare = {re.sub(wrapper, "", key): value for key, value in weights.items()}
        if bare.keys() != weights.keys():
            yield bare


def _misfit(own: Mapping[str, Tensor], weights: Mapping[str, Tensor], file: str, table: str) -> LoadError:
    missing = [key for key in own if key not in weights]
    unexpected = [key for key in weights if key not in own]
    shapes = _other_shapes(own, weights)
    lines = [f"{key} is {list(weights[key].shape)}, the table builds {list(own[key].shape)}" for key in shapes]
    lines += [f"{key} is missing" for key in missing] + [f"{key} is unexpected" for key in unexpected]
    more = f"; and {len(lines) - SHOWN} more" if len(lines) > SHOWN else ""
    return LoadError(
        f"{file} does not fit {table}: {'; '.join(lines[:SHOWN])}{more}. "
        f"{_remedy(own, weights, shapes, missing, unexpected)}"
    )


def _remedy(
    own: Mapping[str, Tensor],
    weights: Mapping[str, Tensor],
    shapes: list[str],
    missing: list[str],
    unexpected: list[str],
) -> str:
    """The one change that most likely makes the file fit."""
    if missing and unexpected:
        return f'"{unexpected[0]}" is in the file: {nearest(unexpected[0], missing)} Rename it, or correct the table.'
    if shapes:
        key = shapes[0]
        pairs = [(i, a, b) for i, (a, b) in enumerate(zip(weights[key].shape, own[key].shape, strict=False)) if a != b]
        if len(pairs) == 1 and len(own[key].shape) == len(weights[key].shape):
            axis, found, _ = pairs[0]
            first, last = next(iter(own)).rsplit(".", 2)[0], list(own)[-1].rsplit(".", 2)[0]
            if key.startswith(last) and first != last and axis == 0:
                return f"Set out_channels = {found}."
            if axis == 1 and key.startswith(first):
                return f"Set in_channels = {found}."
            return f"Set hidden_channels = {found}."
    if missing:
        return "The table builds more than the file holds: lower num_layers, or drop an option that adds weights."
    return "The file holds more than the table builds: raise num_layers, or add the option that makes these weights."
