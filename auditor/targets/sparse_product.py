"""A constant sparse matrix times a dense one that has a gradient."""

from __future__ import annotations

from typing import Any

import torch
from scipy.sparse import csr_array
from torch import Tensor
from torch.nn.functional import embedding_bag


def sparse_product(matrix: csr_array, transpose: csr_array, dense: Tensor) -> Tensor:
    """[n, m] @ [m, k] -> [n, k]; the gradient of `dense` is the transpose times that of the product."""
    product: Tensor = _Product.apply(matrix, transpose, dense)  # type: ignore[no-untyped-call]
    return product


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, matrix: csr_array, transpose: csr_array, dense: Tensor) -> Tensor:
        ctx.transpose = transpose
        return _times(matrix, dense.detach())

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, None, Tensor]:
        return None, None, _times(ctx.transpose, gradients[0])


def _times(matrix: csr_array, dense: Tensor) -> Tensor:
    """The product as weighted sums of rows, which torch does in a half to a quarter of the time of SciPy's product."""
    values, columns, starts = (torch.from_numpy(part) for part in (matrix.data, matrix.indices, matrix.indptr))
    product: Tensor = embedding_bag(
        columns,
        dense.contiguous(),
        starts,
        mode="sum",
        per_sample_weights=values.to(dense.dtype),
        include_last_offset=True,
    )
    return product
