"""What several cells of a run need alike and is made once: kept by what it is made of, within a number of bytes."""

from __future__ import annotations

import dataclasses
import hashlib
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from types import FunctionType
from typing import Any, TypeVar

import numpy as np
from torch import Tensor

T = TypeVar("T")
LIMIT = 2**29
"""Bytes that are kept: what was used least lately is forgotten, and made again where it is needed again."""


class Shared:
    """Values by key. A key must say everything that its value depends on; values are never changed once they are here.

    Args:
        limit: bytes of all values together; a value that is larger by itself is not kept.
    """

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit, self._held = limit, 0
        self._kept: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """The value of `key`, made by `make` where it is not here."""
        if key in self._kept:
            self._kept.move_to_end(key)
            found: T = self._kept[key][0]
            return found
        value = make()
        size = size_of(value)
        if size <= self._limit:
            self._kept[key] = value, size
            self._held += size
        while self._held > self._limit:
            self._held -= self._kept.popitem(last=False)[1][1]
        return value


def content(*parts: object) -> str:
    """Sha256 over tensors and arrays by kind, shape and bytes, and over anything else by its `repr`."""
    sha = hashlib.sha256()
    for part in parts:
        array = part.detach().cpu().numpy() if isinstance(part, Tensor) else part
        if isinstance(array, np.ndarray):
            sha.update(repr((array.shape, array.dtype.str)).encode())
            sha.update(np.ascontiguousarray(array).data)
        else:
            sha.update(repr(array).encode() + b"\0")
    return sha.hexdigest()


def size_of(value: object) -> int:
    """Bytes of the tensors and arrays behind a value: in containers, dataclasses and the variables of functions."""
    total, seen, waiting = 0, set[int](), [value]
    while waiting:
        each = waiting.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        if isinstance(each, Tensor | np.ndarray):
            total += int(each.nbytes)
        elif isinstance(each, Mapping):
            waiting += each.values()
        elif isinstance(each, list | tuple | set | frozenset):
            waiting += each
        elif isinstance(each, FunctionType):
            waiting += [cell.cell_contents for cell in each.__closure__ or ()]
        elif dataclasses.is_dataclass(each) and not isinstance(each, type):
            waiting += [getattr(each, field.name) for field in dataclasses.fields(each)]
    return total
