"""Per-record gradients of graph networks: rows belong to records, and each record gets a gradient of its own.

A *record* is what one unit of privacy contributes: a whole graph (`dp-graph`), or the subgraph around one root
(`dp-node`). Opacus counts rows as records; on a batch of graphs the rows are nodes, so its own layers clip per *node*.
Here every trainable layer knows which record each row belongs to and sums over it.

    private = RecordModel(model)                   # shares every Parameter with `model`, which stays a plain network
    batch = RecordBatch.of(graphs)                 # many graphs side by side: record = graph
    batch = RecordBatch(x, edge_index, y, record, roots=roots)  # disjoint rooted subgraphs: record [R] says whose
                                                   # subgraph a row is in (sorted), roots [B] the row read out of each
    gradients = private.gradients(batch)           # one [B, *shape] for each of private.parameters()

Privacy follows only where a record's loss depends on its own rows alone: see `defenses.dp.record_checks`.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from typing import Literal

import torch
from opacus.grad_sample import GradSampleModule
from torch import Tensor, nn
from torch.nn import functional

from auditor.data.graph import Graph
from auditor.errors import EvaluationError, PerRecordShapeError
from auditor.targets.forward import ForwardAdapter
from defenses.dp.privatise import privatise
from defenses.dp.record_layers import RecordBias, RecordContext, RecordLinear


@dataclass(frozen=True, slots=True, eq=False)
class RecordBatch:
    """B records side by side: R rows, edges inside records only.

    Attributes:
        x: float32 [R, F].
        edge_index: int64 [2, E].
        y: labels, int64 [B].
        record: of each row, int64 [R], non-decreasing, 0..B-1, each with at least one row.
        edge_weight: float32 [E] or None.
        roots: the row read out of each record, int64 [B]; None where the model pools rows by `record` itself.
    """

    x: Tensor
    edge_index: Tensor
    y: Tensor
    record: Tensor
    edge_weight: Tensor | None = None
    roots: Tensor | None = None

    @classmethod
    def of(cls, graph: Graph) -> RecordBatch:
        """Many graphs as records."""
        if graph.batch is None:
            raise ValueError("a single graph is one record; expected many graphs side by side")
        return cls(graph.x, graph.edge_index, graph.y, graph.batch, graph.edge_weight)

    @property
    def records(self) -> int:
        """B."""
        return int(self.y.shape[0])

    def losses(self, model: nn.Module) -> Tensor:
        """Cross-entropy of each record, [B]."""
        out = ForwardAdapter(model).logits(self.x, self.edge_index, self.edge_weight, self.record)
        if self.roots is not None:
            out = out[self.roots]
        if out.shape[0] != self.records:
            raise PerRecordShapeError(
                f"the model answers {out.shape[0]} rows for {self.records} records; expected one each. "
                "Pool nodes by graph (add or mean), or read out one root a record."
            )
        return functional.cross_entropy(out, self.y, reduction="none")

    def only(self, j: int) -> RecordBatch:
        """Record j alone."""
        rows = torch.nonzero(self.record == j).flatten()
        start, edges = int(rows[0]), self.record[self.edge_index[0]] == j
        return RecordBatch(
            self.x[rows],
            self.edge_index[:, edges] - start,
            self.y[j : j + 1],
            torch.zeros_like(rows),
            None if self.edge_weight is None else self.edge_weight[edges],
            None if self.roots is None else self.roots[j : j + 1] - start,
        )

    def disturbed(self, j: int) -> RecordBatch:
        """The same batch with another record in place of j, of the same size: features turned over, no edges."""
        mine, kept = self.record == j, self.record[self.edge_index[0]] != j
        x = self.x.clone()
        x[mine] = 1 - 2 * self.x[mine].flip(0)
        weight = None if self.edge_weight is None else self.edge_weight[kept]
        return replace(self, x=x, edge_index=self.edge_index[:, kept], edge_weight=weight)


class RecordModel:
    """A plain network, and beside it a twin on the same Parameters that answers one gradient per record.

    What steps on `parameters()` trains the plain network: it is served, saved and audited as it always was. Dropout is
    off: its masks follow from a recorded seed, and a record that is larger or missing would move the masks of all rows
    after it, and with them other records' gradients.

    Args:
        model: layers as `defenses.dp.privatise` allows.
        loss_reduction: how the losses of a batch are joined for the backward pass; the gradients do not depend on it.

    Raises:
        SkippedError: a layer that mixes records, or has no per-record gradient.
    """

    def __init__(self, model: nn.Module, loss_reduction: Literal["sum", "mean"] = "sum") -> None:
        self.model = model
        self.context = RecordContext()
        self.twin = privatise(model, self.context).eval()
        for layer in self.twin.modules():
            layer.training = isinstance(layer, RecordLinear | RecordBias)  # without it Opacus' hooks see nothing
        self.loss_reduction = loss_reduction
        self._hooked = GradSampleModule(self.twin, loss_reduction=loss_reduction)

    def named_parameters(self) -> list[tuple[str, nn.Parameter]]:
        """The trainable parameters by their names in the plain network."""
        return [(name, p) for name, p in self.model.named_parameters() if p.requires_grad]

    def parameters(self) -> list[nn.Parameter]:
        """The trainable parameters, in the order of `gradients`."""
        return [p for _, p in self.named_parameters()]

    def gradients(self, batch: RecordBatch) -> list[Tensor]:
        """Gradient of each record's own loss, one [B, *shape] for each parameter; `p.grad` is left empty.

        Raises:
            PerRecordShapeError: rows that are no records; a parameter used outside of its layer.
            EvaluationError: a loss that is not finite.
        """
        self._hooked.zero_grad(set_to_none=True)
        self.context.set(batch.record, batch.records)
        losses = replace(batch, x=batch.x.detach().requires_grad_()).losses(self.twin)
        if not bool(torch.isfinite(losses).all()):
            bad = torch.nonzero(~torch.isfinite(losses)).flatten()[:5].tolist()
            raise EvaluationError(
                f"the loss of record {bad[0]} of a batch is {losses[bad[0]].item()}; expected finite losses. "
                "Lower lr, or check the features."
            )
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Full backward hook is firing")  # features ask for no gradient
            getattr(losses, self.loss_reduction)().backward()
        found = [_rows(name, p, batch.records) for name, p in self.named_parameters()]
        self._hooked.zero_grad(set_to_none=True)
        return found

    def close(self) -> nn.Module:
        """The plain network, nothing of Opacus left on its parameters."""
        self._hooked.zero_grad(set_to_none=True)
        self._hooked.to_standard_module()
        return self.model


def _rows(name: str, parameter: nn.Parameter, records: int) -> Tensor:
    """The per-record gradients that a backward pass left on a parameter."""
    found = getattr(parameter, "grad_sample", None)
    expected = [records, *parameter.shape]
    if not isinstance(found, Tensor) or list(found.shape) != expected:
        got = list(found.shape) if isinstance(found, Tensor) else "nothing"
        raise PerRecordShapeError(
            f"{name} has per-record gradients {got}; expected {expected}, one row a record. The parameter is used "
            "outside of its layer, twice, or not at all: use dp-graph's layers."
        )
    return found.detach()
