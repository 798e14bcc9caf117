"""A device that is not the CPU, on a machine that has none: what would fail on a GPU fails on it.

A tensor of this device holds nothing itself; a tensor on the CPU, kept beside it, does the work of every operation, so
that numbers are equal to the last bit. Refused are `.numpy()`, an operation on tensors of two devices (a single number
aside), and a draw from a generator of the CPU. Torch is told of it once a process; it changes nothing for the CPU.
"""

from __future__ import annotations

import functools
import os
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, library
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._pytree import tree_leaves, tree_map_only
from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend

ALONE = "AUDITOR_ALONE"
"""Set where a process was started for these tests alone."""
own_process = pytest.mark.skipif(
    not os.environ.get(ALONE),
    reason="torch takes no new device after its first gradient: tests/alone runs this in a process of its own",
)
SHADOW = "shadow:0"
NAME = "shadow"
COMPOSITES = ("CompositeExplicitAutogradNonFunctional", "CompositeExplicitAutograd")
"""Kernels that torch prefers to a fallback; they would write into memory that these tensors do not have."""
TORCHS_OWN = ("aten::copy_", "aten::_to_copy", "aten::is_pinned", "aten::detach", "aten::alias", "aten::_pin_memory")
PURGED_EVERY = 10_000

_held: dict[int, tuple[StorageWeakRef, Tensor]] = {}
"""What stands for each tensor, by its storage: shared by the copies that autograd makes of it."""
_libraries: list[library.Library] = []


def install() -> str:
    """Tells torch of the device; its name."""
    if not _libraries:
        _setup_privateuseone_for_python_backend(NAME, backend_module=_Module())
        every, aten = library.Library("_", "IMPL"), library.Library("aten", "IMPL")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            every.fallback(_computed, "PrivateUse1")
            for name, op in _composite():
                aten.impl(name, functools.partial(_computed, op), "PrivateUse1")
        _libraries.extend([every, aten])
        usual = Tensor.__deepcopy__

        def deepcopy(
            self: Tensor, memo: dict[int, Any]
        ) -> Tensor:  # the usual one copies memory, of which there is none
            if not _is_there(self) or isinstance(self, torch.nn.Parameter):
                return usual(self, memo)
            memo[id(self)] = self.detach().clone()
            return memo[id(self)]

        Tensor.__deepcopy__ = deepcopy
    return SHADOW


class _Module(_DummyBackendModule):
    """`torch.shadow`: it has no generator of its own, since nothing is drawn there."""

    def get_rng_state(self, _device: object = None) -> Tensor:
        return torch.empty(0, dtype=torch.uint8)

    def set_rng_state(self, _state: Tensor, _device: object = None) -> None: ...


def _composite() -> Iterator[tuple[str, Any]]:
    has = torch._C._dispatch_has_kernel_for_dispatch_key
    for full in torch._C._dispatch_get_all_op_names():
        if full.startswith("aten::") and full not in TORCHS_OWN and any(has(full, key) for key in COMPOSITES):
            name, _, overload = full.removeprefix("aten::").partition(".")
            yield full, getattr(getattr(torch.ops.aten, name), overload or "default")


def _is_there(value: Tensor) -> bool:
    return value.device.type == NAME


def _stand_in(value: Tensor) -> Tensor:
    return _held[value.untyped_storage()._cdata][1] if _is_there(value) else value


def _moved_there(value: Tensor) -> Tensor:
    made = torch._C._acc.create_empty_tensor(tuple(value.shape), value.dtype)
    storage = made.untyped_storage()
    if len(_held) % PURGED_EVERY == PURGED_EVERY - 1:
        for key in [key for key, (ref, _) in _held.items() if ref.expired()]:
            del _held[key]
    _held[storage._cdata] = (StorageWeakRef(storage), value)
    return made


def _computed(op: Any, *args: Any, **kwargs: Any) -> Any:
    """An operation with at least one tensor of the device, or one that makes one."""
    if op._schema.name == "aten::_copy_from":
        _stand_in(args[1]).copy_(_stand_in(args[0]))
        return args[1]
    given = tree_leaves((args, kwargs))
    if any(isinstance(each, Tensor) and not _is_there(each) and each.dim() > 0 for each in given):
        places = [f"{list(each.shape)} on {each.device}" for each in given if isinstance(each, Tensor)]
        raise RuntimeError(f"{op} was given tensors of two devices: {', '.join(places)}")
    if any(isinstance(each, torch.Generator) for each in given):
        raise RuntimeError(f"{op} draws on {NAME} from a generator of the CPU")
    own_args, own_kwargs = tree_map_only(Tensor, _stand_in, (args, kwargs))
    own_args, own_kwargs = tree_map_only(torch.device, lambda _: torch.device("cpu"), (own_args, own_kwargs))
    own_kwargs.pop("pin_memory", None)
    out = op(*own_args, **own_kwargs)
    returns = op._schema.returns
    if len(returns) != 1:
        parts = zip(returns, out, strict=True)
        return tuple(_given_back(op, each, value, args, kwargs) for each, value in parts)
    return _given_back(op, returns[0], out, args, kwargs)


def _given_back(op: Any, declared: Any, value: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A result as a tensor of the device: a new one, or the argument that was written to."""
    if declared.alias_info is None or not declared.alias_info.is_write:
        return tree_map_only(Tensor, _moved_there, value)
    names = declared.alias_info.before_set
    for place, argument in enumerate(op._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.before_set == names:
            written = args[place] if place < len(args) else kwargs[argument.name]
            assert written.shape == value.shape, f"{op} gave {list(written.shape)} the shape {list(value.shape)}"
            return written
    raise AssertionError(op)
