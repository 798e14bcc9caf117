"""The harness of attribute inference: does the model's answer tell a sensitive column better than what is known anyway?

The adversary knows the column of some nodes and predicts that of the others, from what it holds with the answers and
from the same without them. That a column can be told is no leak of the model where it can be told without it.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch.nn import functional

from auditor.data.sensitive import Sensitive, sensitive_column
from auditor.document import Control, Measured, Metric, ValidityRow, check, measured
from auditor.document.facts import Attribute
from auditor.errors import SkippedError
from auditor.evaluate.attribute.comparing import claim, compared, constant
from auditor.evaluate.attribute.predictors import BOTH, Known, folds_of, predicted
from auditor.parameters import build, parameters
from auditor.probe import Cell, CellResult
from auditor.registry import lack_of
from auditor.side_knowledge import UNSAID
from auditor.statistics.pair_scores import log_posteriors
from auditor.targets.target import Capability
from auditor.view import Access, View, grant_privacy

AUC = Metric("attribute", "auc", "higher", "ranking")
SHARE = Metric("attribute", "share", "higher", "accuracy")
REPLICATES = {"quick": 300, "standard": 1000, "full": 1000}
FEW = 10
CONSTANT = "constant"
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@parameters
class Settings:
    """Parameters of the harness; None means: by the profile.

    Attributes:
        folds: parts of the nodes; the column of one is predicted from that of all others, which the adversary knows.
        replicates: of the bootstrap.
    """

    folds: Annotated[int, Field(ge=2, le=20)] = 2
    replicates: Annotated[int, Field(ge=50)] | None = None


def evaluate(cell: Cell) -> CellResult:
    """Predicts the sensitive column with the answers and without them, on nodes whose value nobody was told.

    Raises:
        ConfigError: there is no such column, or it has one value.
        SkippedError: no column was named, or too few nodes differ in it.
    """
    settings = build(Settings, cell.params, owner=cell.probe.id)
    target, side = cell.target, cell.side
    if side.sensitive is None:
        raise SkippedError(UNSAID["sensitive"])
    if Capability.PROBS not in target.capabilities:
        raise SkippedError(f"needs {lack_of(Capability.PROBS)}")
    column = sensitive_column(target.graph, side.sensitive)
    words = {Access.POSTERIORS}
    words |= {Access.FEATURES} if side.features else set()
    words |= {Access.LABELS} if side.labels != "none" else set()
    beside = ("neighbours",) if side.neighbours else ()
    view = grant_privacy(target, frozenset(words), side, cell.rng("view"))
    answers = (
        view.posteriors if view.outputs == "logits" else log_posteriors(view.posteriors, digits=view.served_digits)
    )
    nodes = torch.isfinite(answers).all(dim=1).numpy()
    values = column.values.numpy()[nodes]
    common = int(np.bincount(values.astype(np.int64)).max()) if column.kind != "number" else 0
    if len(values) - common < FEW:
        raise SkippedError(
            f"{len(values) - common} of {len(values)} nodes differ from the others in column {column.name}; at least "
            f"{FEW} are needed to tell anything"
        )
    fold = np.zeros(len(nodes), dtype=np.int64)
    fold[nodes] = folds_of(values, settings.folds, cell.rng("folds"))
    known = _known(cell, view, column, fold)
    centred = (answers - answers.mean(dim=1, keepdim=True)).nan_to_num().numpy()
    fold, seed = fold[nodes], cell.integer("trees")

    def claims(of: Known) -> dict[str, Floats]:
        said = predicted(of.only(nodes), values, column.kind, fold, seed=seed)
        return {name: claim(each, column.kind) for name, each in said.items()}

    cell.tick(0.1, "without answers")
    without = {f"without-answers/{name}": each for name, each in claims(known).items()}
    without[CONSTANT] = constant(values, column.kind, fold)
    cell.tick(0.5, "with answers")
    own = claims(known.with_more(centred))[BOTH]
    cell.tick(0.9, "intervals")
    reached, apart = compared(
        [own, *without.values()],
        values,
        column.kind,
        fold,
        rng=cell.rng("bootstrap"),
        replicates=settings.replicates or REPLICATES[cell.profile],
    )
    controls = [
        Control(name=name, estimate=each, contrast=less)
        for name, each, less in zip(without, reached[1:], apart, strict=True)
    ]
    knowledge = tuple(sorted({*(str(word) for word in words - {Access.POSTERIORS}), *beside}))
    number = measured(
        AUC if column.kind == "binary" else SHARE,
        reached[0],
        finding=cell.probe.findings[0],
        controls=controls,
        judged=True,
        facts=Attribute(column=column.name, about=column.kind, known=1 - 1 / settings.folds, knowledge=knowledge),
    )
    return CellResult(
        access=tuple(sorted({*map(str, words), *beside})),
        measured=(number,),
        validity=(_power_row(number, len(values)),),
        params={
            "column": column.name,
            "kind": column.kind,
            "known": 1 - 1 / settings.folds,
            "nodes": len(values),
            "labels": side.labels,
            "neighbours": side.neighbours,
        },
    )


def _known(cell: Cell, view: View, column: Sensitive, fold: Ints) -> Known:
    """What is known without the model: other columns, labels, and, where granted, what neighbours are like."""
    n = view.num_nodes
    rest = [np.zeros((n, 0))]
    if Access.LABELS in view.access:
        one_hot = functional.one_hot(view.y.clamp_min(0), view.num_classes) * view.known[:, None]
        rest.append(one_hot.double().numpy())
    others = column.others.numpy() if Access.FEATURES in view.access else None
    known = Known.of(others, np.concatenate(rest, axis=1), seed=cell.integer("directions"))
    if not cell.side.neighbours:
        return known
    return known.with_more(_of_neighbours(cell.target.private_graph.edge_index.numpy(), known, column, fold))


def _of_neighbours(arcs: Ints, known: Known, column: Sensitive, fold: Ints) -> Floats:
    """Mean over neighbours of what is known of them, and of the column where it was told; and how many there are.

    The column of a node of the same fold is asked for at the same time: it was told to nobody.
    """
    u, v = arcs[:, arcs[0] != arcs[1]]
    n = len(fold)

    def mean(rows: Floats, kept: NDArray[np.bool_]) -> Floats:
        total = np.zeros((n, rows.shape[1]))
        np.add.at(total, v[kept], rows[u[kept]])
        count = np.bincount(v[kept], minlength=n)
        return np.asarray(total / np.maximum(count, 1)[:, None])

    told, every = fold[u] != fold[v], np.ones(len(u), dtype=bool)
    values = column.values.numpy()[:, None]
    if column.kind == "classes":
        values = np.eye(int(values.max()) + 1)[values[:, 0].astype(np.int64)]
    counts = np.stack([np.bincount(v[told], minlength=n), np.bincount(v, minlength=n)], axis=1)
    return np.concatenate([mean(known.trees(), every), mean(values, told), counts], axis=1)


def _power_row(number: Measured, nodes: int) -> ValidityRow:
    half = None if number.contrast is None else number.contrast.half_width
    shown = "no interval" if half is None else f"half-width of the difference {half:.3f}"
    return check("power", "warning", half is not None and half <= 0.1, f"{nodes} nodes, {shown}")
