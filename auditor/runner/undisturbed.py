"""The state of torch that numbers depend on, set for an audit and put back after it."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import PurePath

import torch

from auditor.errors import LoadError
from auditor.printable import error_text
from auditor.targets.device import CPU, repeatable
from auditor.targets.rng import forked_rng
from auditor.targets.user_imports import is_users


@contextmanager
def undisturbed(threads: int, device: str = CPU) -> Iterator[None]:
    """Inside: float32, gradients and no autocast, whatever the caller has set. Outside: as it was.

    Tensors are made on the CPU; on another `device`, what runs there gives the same numbers twice.

    Raises:
        LoadError: code of the model would have ended the program.
    """
    dtype, before = torch.get_default_dtype(), torch.get_num_threads()
    with ExitStack() as stack:
        stack.callback(torch.set_num_threads, before)
        stack.callback(torch.set_default_dtype, dtype)
        stack.enter_context(forked_rng())
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(torch.autocast("cpu", enabled=False))
        stack.enter_context(repeatable(device))
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        torch.set_default_dtype(torch.float32)
        torch.set_num_threads(threads)
        try:
            yield
        except (SystemExit, GeneratorExit) as end:
            raise ended_by(end) from None


def raised_by_forward(error: Exception) -> LoadError:
    """What is said of a forward that fails in a check although it ran when its call was found."""
    began = None if error.__cause__ is None else error.__cause__.__traceback__
    frames = [*traceback.walk_tb(error.__traceback__), *traceback.walk_tb(began)]
    frame, line = ([each for each in frames if is_users(each[0])] or frames)[-1]  # theirs to mend, not a library's
    place = f"{PurePath(frame.f_code.co_filename).name}, line {line}"
    return LoadError(
        f"forward raised {error_text(error, named=True)} ({place}) while the target was checked, and ran before. A "
        "model must answer each time that it is asked, about every graph of this kind: mend that place."
    )


def ended_by(end: BaseException) -> LoadError:
    """What is said of a model whose code would have ended the program."""
    return LoadError(
        f"{error_text(end, named=True)} was raised by the model's code while it was loaded. A model must not end the "
        "program that uses it: take that out."
    )
