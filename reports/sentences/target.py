"""What was audited, in words: kind, sizes, accuracy, and what defended it."""

from __future__ import annotations

from auditor.document import NONE, Audit
from reports.sentences.numbers import count, interval_cell, value_cell


def kind_and_sizes(audit: Audit) -> str:
    """Kind, task and sizes in one line; says so where there is no target at all."""
    t = audit.target
    if not t.nodes:
        return f"no target: {t.kind} alone"
    sizes = [count(t.graphs, "graph")] if t.graphs > 1 else []
    sizes += [count(t.nodes, "node"), count(t.edges, "directed edge"), count(t.features, "feature")]
    sizes += [count(t.classes, "class")]
    return f"{t.kind}, {t.task.level} classification · " + ", ".join(sizes)


def accuracy(audit: Audit) -> str:
    """Accuracy without any attack, beside the constant predictor; empty when it was not measured."""
    clean, constant = audit.target.clean, audit.target.constant_predictor
    if clean is None or clean.value is None:
        return ""
    text = f"test accuracy {value_cell(clean.value, 'share')}"
    text += f" ({interval_cell(clean, 'share')})" if clean.has_interval else ""
    text += f" on {count(clean.n, 'item')}" if clean.n else ""
    return text if constant is None else f"{text}, always the commonest class {value_cell(constant, 'share')}"


def defended(audit: Audit) -> list[str]:
    """What defended the target, its guarantee and that guarantee's caveats, a line each; none for a bare target."""
    target = audit.target
    if target.defense == NONE:
        return []
    given = target.guarantee
    if given is None:
        return [f"defended by {target.defense}: no formal guarantee"]
    return [f"defended by {target.defense}: {given.headline()}", *(f"caveat: {text}" for text in given.caveats)]
