"""What is checked of a model that runs on another device than the CPU."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace

import torch
from torch import nn

from auditor.data.graph import Graph
from auditor.document import ValidityRow, check
from auditor.targets.device import CPU, NOT_DETERMINISTIC, described
from auditor.targets.relabelling import TOLERANCE, apart
from auditor.targets.target import ModelHandle
from auditor.targets.validity.trial import Trial

NAMED = 3


def device_rows(trial: Trial) -> tuple[ValidityRow, ...]:
    """Whether the device answers as the CPU does, and twice the same; nothing for the CPU itself."""
    target = trial.target
    if target.device == CPU:
        return ()
    difference = float(apart(trial.clean, replace(target, device=CPU).clean_logits()).max())
    evidence = f"{described(target.device)}: logits differ from the CPU's by {difference:.2g} on a scale of "
    evidence += f"{trial.scale:.3g}"
    found = random_order(trial.handle, target.graph)
    if found:
        evidence += f"; without a deterministic form there: {', '.join(found[:NAMED])}"
        evidence += f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
        evidence += "; a rerun may differ in the last digits"
    return (check("device", "warning", not found and difference <= TOLERANCE * trial.scale, evidence),)


def random_order(handle: ModelHandle, graph: Graph) -> list[str]:
    """Operations of a forward and its gradient that have no deterministic form on the device: `conv1 (put_)`.

    Torch must be told to warn of them (`use_deterministic_algorithms(True, warn_only=True)`).
    """
    x = graph.x.clone().requires_grad_(graph.x.is_floating_point())
    with _watched(handle.model) as said:
        out = handle.logits(x, graph.edge_index, graph.edge_weight, graph.batch, graph.fields)
        if out.requires_grad:
            torch.autograd.grad(out.sum(), x, allow_unused=True)
    return list(dict.fromkeys(said()))


@contextmanager
def _watched(model: nn.Module) -> Iterator[Callable[[], list[str]]]:
    """While open, every warning is kept beside the innermost module that runs; gives what was said, as it is shown."""
    running, told = ["its gradient"], list[str]()
    with ExitStack() as stack:
        caught = stack.enter_context(warnings.catch_warnings(record=True))
        warnings.simplefilter("always")

        def said() -> list[str]:
            texts = [str(each.message) for each in caught]
            caught.clear()
            told.extend(f"{running[-1]} ({text.split()[0]})" for text in texts if NOT_DETERMINISTIC in text)
            return told

        def enter(name: str) -> None:
            said()
            running.append(name)

        def leave(*_: object) -> None:
            said()
            running.pop()

        for name, module in model.named_modules():
            own = name or type(module).__name__
            stack.callback(module.register_forward_pre_hook(lambda *_, own=own: enter(own)).remove)
            stack.callback(module.register_forward_hook(leave, always_call=True).remove)
        yield said
