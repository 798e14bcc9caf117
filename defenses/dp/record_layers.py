"""Linear layers and biases whose gradients come one a record, registered with Opacus."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from opacus.grad_sample import register_grad_sampler
from torch import Tensor, nn
from torch.nn import functional

from auditor.errors import PerRecordShapeError

Gradients = dict[Tensor, Tensor]  # by parameter

CHUNK_BYTES = 256 * 2**20
"""A layer's rows are padded to equal length for at most this many bytes at a time."""


class RecordContext:
    """Which record each row of the batch in work belongs to. One per model, set before each forward."""

    def __init__(self) -> None:
        self.record = torch.zeros(0, dtype=torch.int64)
        self.records = 0
        self._groups: list[tuple[Tensor, Tensor]] = []

    def set(self, record: Tensor, records: int) -> None:
        """From now on rows belong to `record` int64 [R], sorted, of `records` records."""
        size = torch.bincount(record, minlength=records)
        if size.shape[0] != records or bool((record[1:] < record[:-1]).any()):
            raise PerRecordShapeError(
                f"record ids run from {record.min()} to {record.max()} in no order; expected 0..{records - 1}, sorted."
            )
        self.record, self.records = record, records
        self._groups = self._grouped(size, size.cumsum(0) - size)

    def is_pooled(self, rows: int) -> bool:
        """Whether rows are records already (after pooling), and no longer nodes."""
        return rows == self.records

    def check(self, rows: int, layer: str) -> None:
        """Raises PerRecordShapeError for a number of rows that belongs to no stage of this batch."""
        if rows not in (self.records, self.record.shape[0]):
            raise PerRecordShapeError(
                f"layer {layer} got {rows} rows; expected {self.record.shape[0]} (one a node) or {self.records} (one a "
                "record). Rows that cannot be told apart cannot be clipped per record: use dp-graph's layers."
            )

    def sum_rows(self, rows: Tensor) -> Tensor:
        """Sums of rows [R, O] by record, [B, O]."""
        return rows.new_zeros(self.records, rows.shape[1]).index_add_(0, self.record, rows)

    def outer(self, g: Tensor, a: Tensor) -> Tensor:
        """Sum over a record's rows of g aᵀ: g [R, O], a [R, I] -> [B, O, I].

        Records of like size are padded to the largest of them, so that one huge graph does not pad all the others.
        """
        out = g.new_empty(self.records, g.shape[1], a.shape[1])
        g, a = (torch.cat([rows, rows.new_zeros(1, rows.shape[1])]) for rows in (g, a))  # row R is the padding
        for ids, rows in self._padded(4 * (g.shape[1] + a.shape[1])):
            left, right = (v.index_select(0, rows.flatten()).view(*rows.shape, -1) for v in (g, a))  # [b, n, ·]
            out[ids] = torch.bmm(left.transpose(1, 2), right)
        return out

    def _padded(self, row_bytes: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Record ids [b] and their rows [b, n], R where there is none: at most `CHUNK_BYTES`, or one record."""
        for ids, rows in self._groups:
            count = max(1, CHUNK_BYTES // (rows.shape[1] * row_bytes))
            yield from zip(torch.split(ids, count), torch.split(rows, count), strict=True)

    def _grouped(self, size: Tensor, start: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Record ids and padded rows of records whose sizes lie within a factor of √2."""
        order = size.argsort()
        classes = (2 * size[order].double().log2()).ceil()
        counts = torch.unique_consecutive(classes, return_counts=True)[1].tolist()
        groups = []
        for ids in torch.split(order, counts):
            place = torch.arange(int(size[ids].max()))
            inside = place < size[ids, None]
            groups.append((ids, torch.where(inside, start[ids, None] + place, self.record.shape[0])))
        return groups


class RecordLinear(nn.Linear):
    """x Wᵀ + b on rows [R, I] -> [R, O], with the Parameters of another linear layer and a gradient per record."""

    def __init__(self, weight: nn.Parameter, bias: nn.Parameter | None, context: RecordContext, name: str) -> None:
        nn.Module.__init__(self)
        self.out_features, self.in_features = weight.shape
        self.weight = weight
        self.register_parameter("bias", bias)
        self.context, self.name = context, name

    def forward(self, input: Tensor) -> Tensor:
        """See the class."""
        _expect_records(self, input)
        bias = None if self.bias is None else self.bias.detach()
        return functional.linear(input, self.weight.detach(), bias)


class RecordBias(nn.Module):
    """Adds a vector [O] to rows [R, O], with a gradient per record: what a convolution adds after aggregating."""

    def __init__(self, bias: nn.Parameter, context: RecordContext, name: str) -> None:
        super().__init__()
        self.bias = bias
        self.context, self.name = context, name

    def forward(self, x: Tensor) -> Tensor:
        """[R, O] -> [R, O]."""
        _expect_records(self, x)
        return x + self.bias.detach()


def _expect_records(layer: RecordLinear | RecordBias, x: Tensor) -> None:
    """Tells Opacus the batch size: left to itself it takes the largest number of rows seen, which is nodes."""
    if x.dim() != 2:
        raise PerRecordShapeError(f"layer {layer.name} got {list(x.shape)}; expected rows [R, {x.shape[-1]}].")
    layer.context.check(x.shape[0], layer.name)
    layer.max_batch_len = layer.context.records  # type: ignore[assignment]  # Opacus' own attribute


def _linear_gradients(layer: RecordLinear, activations: list[Tensor], backprops: Tensor) -> Gradients:
    """W [B, O, I] and b [B, O] from inputs [R, I] and gradients at outputs [R, O]."""
    (a,), g = activations, backprops
    pooled = layer.context.is_pooled(g.shape[0])
    found: Gradients = {}
    if layer.weight.requires_grad:
        found[layer.weight] = torch.einsum("no,ni->noi", g, a) if pooled else layer.context.outer(g, a)
    if layer.bias is not None and layer.bias.requires_grad:
        found[layer.bias] = g if pooled else layer.context.sum_rows(g)
    return found


def _bias_gradients(layer: RecordBias, activations: list[Tensor], backprops: Tensor) -> Gradients:
    """Bias [B, O] from gradients at outputs [R, O]."""
    pooled = layer.context.is_pooled(backprops.shape[0])
    return {layer.bias: backprops if pooled else layer.context.sum_rows(backprops)}


register_grad_sampler(RecordLinear)(_linear_gradients)
register_grad_sampler(RecordBias)(_bias_gradients)
