"""Everything that a model is made of, as one digest: its tensors, and the Python state beside them."""

from __future__ import annotations

import hashlib
import io
import pickle
from types import CodeType, FunctionType, ModuleType
from typing import Any

from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch_geometric.inspector import Inspector

from auditor.shared import content


class StateError(Exception):
    """A part of a model whose state cannot be told, so that no copy of it can be known to be equal."""


def state_of(model: nn.Module) -> str:
    """Sha256 (hex) over the tensors of a model by type and bytes, and over every other attribute of all its parts.

    Two models of equal state that run the same code give the same answers, whatever order they were built in and
    whichever process they are in.

    Raises:
        StateError: an attribute is of a kind that cannot be told (a generator, a function with variables of its own).
    """
    try:
        return _digest(model)
    except (Exception, SystemExit, GeneratorExit) as error:  # whatever a user's attribute answers to being written
        raise StateError(f"{type(model).__name__} holds what cannot be written: {type(error).__name__}") from None


def _digest(value: object) -> str:
    raw = io.BytesIO()
    _Writer(raw).dump(value)
    return hashlib.sha256(raw.getvalue()).hexdigest()


class _Writer(pickle.Pickler):
    """Pickles for the digest alone: nothing reads them, and which values are one object makes no difference."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, protocol=4)
        self.fast = True  # no memo

    def persistent_id(self, value: object) -> Any:
        """What stands in the place of a value that pickle would write by reference, by address or in chance order."""
        if isinstance(value, Tensor):
            held = "lazy" if is_lazy(value) else content(value)
            return "tensor", type(value).__name__, str(value.dtype), value.requires_grad, held
        if isinstance(value, nn.Module):  # attributes in any order: a copy has them in another one
            own = sorted((name, _digest(each)) for name, each in vars(value).items())
            return "part", type(value), tuple(own)
        if isinstance(value, Inspector):  # what PyG has found out about a class so far
            return "inspector", value._cls
        if isinstance(value, type):  # with what was put around its forward, which has no other name
            return "class", tuple((each.__module__, each.__qualname__) for each in value.__mro__)
        if isinstance(value, ModuleType):
            return "module", value.__name__
        if isinstance(value, FunctionType):
            if value.__closure__:
                raise StateError(value.__qualname__)
            code, given = value.__code__, (value.__defaults__, value.__kwdefaults__)
            constants = tuple(each for each in code.co_consts if not isinstance(each, CodeType))
            return "function", value.__module__, value.__qualname__, code.co_code, constants, given
        if isinstance(value, set | frozenset):  # in an order that differs between processes
            return "set", tuple(sorted(map(_digest, value)))
        return None
