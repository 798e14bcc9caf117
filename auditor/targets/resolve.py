"""Which of the calls that run is the user's: decided by what the user knows, or asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from auditor.data.graph import Graph, Split
from auditor.errors import CallError, GraphError, LoadError
from auditor.targets.advice import what_meets
from auditor.targets.call import Call
from auditor.targets.call_rules import Answer, find_calls
from auditor.targets.capabilities import small_slice
from auditor.targets.forward import drop_caches
from auditor.targets.node_table import may_have_a_table
from auditor.targets.reference import Comparison, compare_reference
from auditor.targets.target import ModelHandle

WHOLE_NODES, SLICE, WHOLE_GRAPHS = 20_000, 5_000, 64
CLAIM_TOLERANCE = 0.0005

Status = Literal["pass", "warn", "fail", "not_checked"]


class UndecidedError(CallError):
    """Several calls answer differently, and only the user knows which is theirs; `about` is `call` or `output`."""

    def __init__(self, message: str, about: str) -> None:
        super().__init__(message)
        self.about = about


@dataclass(frozen=True, slots=True, eq=False)
class Resolved:
    """The call that the audit uses, and what supports it.

    Attributes:
        call: how forward is called.
        graph: the graph as that call reads it.
        num_classes: C of the model.
        status: `pass` (proved by reference answers, or agrees with the claim), `warn` (the claim fits several), `fail`
            (it fits none), `not_checked` (nothing shows that this is the model as it was trained).
        evidence: why.
        reference: the comparison with the reference answers, where there are any.
        asked: (parameter, slot) as the rules chose them among what the graph holds.
    """

    call: Call
    graph: Graph
    num_classes: int
    status: Status
    evidence: str
    reference: Comparison | None = None
    asked: tuple[tuple[str, str], ...] = ()

    def describe(self) -> Mapping[str, Any]:
        """Plain values for the document."""
        return {
            "forward": self.call.describe(),
            "not_used": list(self.call.unused),
            "output": self.call.output,
            "answers": self.call.answers,
            "status": self.status,
            "evidence": self.evidence,
        }


def resolve(
    model: nn.Module,
    graph: Graph,
    *,
    split: Split,
    pinned: Mapping[str, str | int] | None = None,
    claim: float | None = None,
    reference: Path | None = None,
) -> Resolved:
    """The call that reference answers or a claimed accuracy support; the first choice where they do not decide.

    Args:
        model: as its class was written, or an adapter's.
        graph: everything that the file holds.
        split: unknown, or the items that the claim is about.
        pinned: the `[call]` table.
        claim: claimed test accuracy, of a known split.
        reference: file of reference answers.

    Raises:
        CallError: no call runs, or several do, differently, and nothing decides between them.
        TaskError: the model belongs to a task that is not audited.
        GraphError: labels beyond the model's outputs.
        LoadError: no call gives the reference answers.
    """
    model.eval()
    drop_caches(model)
    trial = _trial(model, graph)
    answers = find_calls(model, trial, pinned)
    fitting = tuple(answer for answer in answers if int(graph.y.max()) < answer.logits.shape[1])
    if not fitting:
        raise GraphError(
            f"{graph.name} has labels up to {int(graph.y.max())}, the model gives "
            f"{answers[0].logits.shape[1]} outputs. Give the labels that the model was trained on, numbered from 0."
        )
    if reference is not None:
        return _proved(model, graph, fitting, reference)
    if claim is not None:
        return _claimed(model, graph, split, fitting, claim)
    guessed = [answer for answer in fitting if answer.call.inexact]
    if len(fitting) > 1 and guessed:
        outputs = {answer.call.output for answer in fitting}
        about = "output" if len(outputs) > 1 else "call"
        raise UndecidedError(_question(model, graph, split, fitting), about)
    evidence = "nothing shows that this is the model as it was trained: no reference answers, no accuracy to compare"
    return _chosen(fitting[0], graph, "not_checked", evidence)


def call_line(said: Mapping[str, Any]) -> str:
    """`Resolved.describe` as one line."""
    names = ", ".join(said["not_used"])
    unused = f"; in the data but not used by forward, so without effect on any number: {names}" if names else ""
    output = "" if said["output"] is None else f"; output {said['output']!r}"
    return f"{said['forward']}{unused}{output}; {said['evidence']}"


def _trial(model: nn.Module, graph: Graph) -> Graph:
    """What calls are tried on: the whole graph, or a part of a large one whose nodes the model cannot know by name."""
    if graph.batch is not None:
        from auditor.targets.slices import GraphSlices

        return GraphSlices(graph).take(torch.arange(min(WHOLE_GRAPHS, graph.num_items)))
    whole = graph.num_nodes <= WHOLE_NODES or may_have_a_table(model, graph.num_nodes)
    return graph if whole else small_slice(graph, SLICE)


def _chosen(
    answer: Answer, graph: Graph, status: Status, evidence: str, reference: Comparison | None = None
) -> Resolved:
    classes = int(answer.logits.shape[1])
    return Resolved(answer.call, answer.prepared(graph), classes, status, evidence, reference, answer.asked)


def _proved(model: nn.Module, graph: Graph, answers: tuple[Answer, ...], path: Path) -> Resolved:
    failed: LoadError | None = None
    for answer in answers:
        handle = ModelHandle(model, call=answer.call)
        try:
            comparison = compare_reference(path, handle, answer.prepared(graph))
        except LoadError as error:
            failed = failed or error
            continue
        evidence = f"gives the reference answers ({comparison.difference:.2g} apart)"
        return _chosen(answer, graph, "pass", evidence, comparison)
    assert failed is not None
    raise failed


def _claimed(model: nn.Module, graph: Graph, split: Split, answers: tuple[Answer, ...], claim: float) -> Resolved:
    measured = [_accuracy(model, graph, split, answer) for answer in answers]
    n = split.sizes[2]
    allowed = max(1 / n, CLAIM_TOLERANCE) + 1e-9
    agreeing = [answer for answer, found in zip(answers, measured, strict=True) if abs(found - claim) <= allowed]
    if not agreeing:
        said = "; ".join(f"{a.call.describe()} {m:.4f}" for a, m in zip(answers, measured, strict=True))
        first = answers[0]

        def accuracy(call: Call, prepared: Graph) -> float:
            return _measured(model, prepared, split, call)

        hint = what_meets(claim, allowed, first.call, first.prepared(graph), accuracy)
        evidence = f"test accuracy {claim:.4f} is claimed, {said} measured" + (f"; {hint}" if hint else "")
        return _chosen(first, graph, "fail", evidence)
    if len(agreeing) > 1:
        others = ", ".join(answer.call.describe() for answer in agreeing[1:])
        return _chosen(agreeing[0], graph, "warn", f"agrees with the claim {claim:.4f}, and so does {others}")
    return _chosen(agreeing[0], graph, "pass", f"agrees with the claim {claim:.4f}")


def _accuracy(model: nn.Module, graph: Graph, split: Split, answer: Answer) -> float:
    if answer.logits.shape[0] == graph.num_items:
        return _share(graph, answer.logits, split)
    return _measured(model, answer.prepared(graph), split, answer.call)


def _measured(model: nn.Module, graph: Graph, split: Split, call: Call) -> float:
    """Test accuracy of one call on a graph prepared for it."""
    handle = ModelHandle(model, call=call)
    with torch.no_grad():
        logits = handle.logits(graph.x, graph.edge_index, graph.edge_weight, graph.batch, graph.fields)
    return _share(graph, logits, split)


def _share(graph: Graph, logits: Tensor, split: Split) -> float:
    return float(graph.task.quality(logits, graph.y)[split.test].mean())


def _question(model: nn.Module, graph: Graph, split: Split, answers: tuple[Answer, ...]) -> str:
    """What to ask where the rules cannot decide and the choices differ."""
    guess = next(guess for answer in answers for guess in answer.call.inexact)
    lines = []
    for answer in answers[:4]:
        what = answer.call.describe() + ("" if answer.call.output is None else f", output {answer.call.output!r}")
        accuracy = f": accuracy {_accuracy(model, graph, split, answer):.3f}" if split.is_known else ""
        lines.append(what + accuracy)
    return (
        f"{guess}, and the answers differ: {'; '.join(lines)}. Say which is yours in [call] (a parameter of forward = "
        'the name of a field, or "none"; output = a number or key), or give claimed_accuracy or a reference.'
    )
