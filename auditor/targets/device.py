"""Where a model runs: on the CPU, or on a GPU that torch finds.

A graph, a split and everything that is drawn stay on the CPU; a model's private copies (`ModelHandle`) live on the
device. What a call is given is moved there and its answer comes back, so that a run on a GPU differs from one on the
CPU by the rounding of the model's own arithmetic alone.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Final

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from auditor.errors import ConfigError

CPU: Final = "cpu"
CUBLAS: Final = "CUBLAS_WORKSPACE_CONFIG"
"""Without a fixed workspace, matrix products on a GPU are not the same twice."""
WORKSPACE: Final = ":4096:8"
NOT_DETERMINISTIC: Final = "does not have a deterministic implementation"


def devices_of(text: str) -> tuple[str, ...]:
    """The devices that a worker each may have: `cpu` alone; every GPU of the first one's kind; or the GPU named.

    Args:
        text: `auto`, `cpu`, `cuda` or `cuda:i`.

    Raises:
        ConfigError: torch finds no such GPU.
    """
    if text == CPU:
        return (CPU,)
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if text == "auto" and not found:
        return (CPU,)
    if not found:
        built = "was built without CUDA" if torch.version.cuda is None else "finds no driver or no GPU that it can use"
        raise ConfigError(
            f"device is {text}; expected a GPU, and torch {torch.__version__} {built}. Give --device cpu, or auto, "
            "which takes a GPU where there is one."
        )
    if text in ("auto", "cuda"):  # GPUs of two kinds round differently
        kinds = [torch.cuda.get_device_name(i) for i in range(found)]
        return tuple(f"cuda:{i}" for i, kind in enumerate(kinds) if kind == kinds[0])
    if int(text.partition(":")[2]) >= found:
        there = "cuda:0 alone" if found == 1 else f"cuda:0 to cuda:{found - 1}"
        raise ConfigError(f"device is {text}; expected a GPU that is there: {there}. Give one of these, or cuda.")
    return (text,)


def described(device: str) -> str:
    """What a rerun must share: `cpu`, or `cuda (NVIDIA H200)`; which of several equal ones changes no number."""
    if torch.device(device).type != "cuda":
        return device
    return f"cuda ({torch.cuda.get_device_name(device)})"


@contextmanager
def repeatable(device: str) -> Iterator[None]:
    """Inside: what runs on `device` gives the same numbers twice, in float32 throughout. Outside: as it was.

    Where an operation has no deterministic form it runs all the same: a validity row names it.
    """
    if device == CPU:
        yield
        return
    strict, warn = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    precision, convolutions = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    with ExitStack() as stack:
        stack.callback(torch.use_deterministic_algorithms, strict, warn_only=warn)
        stack.callback(torch.set_float32_matmul_precision, precision)
        stack.callback(setattr, torch.backends.cudnn, "allow_tf32", convolutions)
        stack.enter_context(warnings.catch_warnings())
        stack.enter_context(torch.autocast("cuda", enabled=False))
        settle(device)
        yield


def settle(device: str) -> None:
    """The same for the rest of a process that is ours alone."""
    if device == CPU:
        return
    os.environ.setdefault(CUBLAS, WORKSPACE)
    warnings.filterwarnings("ignore", message=f".*{NOT_DETERMINISTIC}")
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False


_COPIES: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
"""Of each tensor that was moved: the device, its version then, the copy."""


def moved(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on `device`; one that asks for no gradient is moved once as long as it lives and does not change."""
    if tensor.device == device:
        return tensor
    if tensor.requires_grad:
        return tensor.to(device)
    known = _COPIES.get(tensor)  # type: ignore[no-untyped-call]
    if known is None or known[:2] != (device, tensor._version):
        known = _COPIES[tensor] = (device, tensor._version, tensor.to(device))
    copy: Tensor = known[2]
    return copy
