"""Keeps the tensors that a forward is given as they were, where it writes on them."""

from __future__ import annotations

import functools
import traceback
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch_geometric.data import Data

from auditor.errors import AuditorError, CallError
from auditor.printable import error_text
from auditor.targets.user_imports import is_ours, with_forward


def kept_fresh(model: nn.Module) -> nn.Module:
    """The same module, whose forward never changes a tensor that it is given.

    Its first call with the same arguments, in training and in eval mode, gets copies, and shows whether it writes on
    them (`x += 1`, dropout in place). If so, each later call gets copies; else the tensors themselves, which are
    watched: copies of each call would cost more than a forward on wide features.

    Raises:
        CallError: in a later forward, when it writes on what it left alone before: they cannot be told from the data.
    """
    writes: dict[tuple[Any, ...], bool] = {}  # shared by every copy of the model
    spoiled: list[str] = []

    def make(forward: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(forward)
        def called(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
            if spoiled:
                raise _left_no_more(spoiled[0])
            given = dict(enumerate(args)) | kwargs
            own = _tensors(given)
            kind = (self.training, *own)
            is_copied = writes.get(kind, True)
            if is_copied:
                given = {
                    name: each.clone() if isinstance(each, Tensor | Data) else each for name, each in given.items()
                }
            handed = _tensors(given)
            before = {name: each._version for name, each in handed.items()}
            try:
                out = forward(self, *(given[i] for i in range(len(args))), **{name: given[name] for name in kwargs})
            except AuditorError as error:
                if not _is_ours(error):  # a word of ours from somebody else's code skips no test
                    raise RuntimeError(error_text(error, named=True)) from error
                raise
            written = [name for name, each in handed.items() if each._version != before[name]]
            if not is_copied and written:
                spoiled.append(written[0])
                raise _left_no_more(written[0])
            if kind not in writes:
                writes[kind] = bool(written) or not all(_equal(own[name], each) for name, each in handed.items())
            return out

        return called

    return with_forward(model, make)


def left_forward(error: BaseException) -> bool:
    """Whether an error came out of a forward that is kept fresh."""
    code = (frame.f_code for frame, _ in traceback.walk_tb(error.__traceback__))
    return any(each.co_filename == __file__ and each.co_name == "called" for each in code)


def _is_ours(error: BaseException) -> bool:
    """Whether it was raised by this program: inside a forward run its hooks and layers, too."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return is_ours(frame)


def _tensors(given: Mapping[Any, Any]) -> dict[str, Tensor]:
    """Every tensor among arguments, by name; those of PyG's Data by the name of each field."""
    found: dict[str, Any] = {}
    for name, value in given.items():
        held = value.to_dict() if isinstance(value, Data) else {"": value}
        found |= {f"{name}.{key}".removesuffix("."): each for key, each in held.items()}
    return {name: each for name, each in found.items() if isinstance(each, Tensor)}


def _equal(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors hold the same: a write past autograd (`x.data`, NumPy) leaves no version."""
    if a.layout != torch.strided:
        return True
    return bool(((a == b) | ((a != a) & (b != b))).all())


def _left_no_more(name: str) -> CallError:
    place = f"argument {int(name) + 1}" if name.isdecimal() else name
    return CallError(
        f"forward wrote on {place} in place, which it left alone when it was first called like this, so that the graph "
        "is no longer the one that was given. Write to a copy in forward: x = x * 2 in place of x *= 2."
    )
