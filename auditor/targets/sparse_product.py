"""A constant sparse matrix times a dense one that has a gradient."""

from __future__ import annotations

from typing import Any

import torch
from scipy.sparse import csr_array
from torch import Tensor


def sparse_product(matrix: csr_array, transpose: csr_array, dense: Tensor) -> Tensor:
    """[n, m] @ [m, k] -> [n, k]; the gradient of `dense` is the transpose times that of the product."""
    product: Tensor = _Product.apply(matrix, transpose, dense)  # type: ignore[no-untyped-call]
    return product


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, matrix: csr_array, transpose: csr_array, dense: Tensor) -> Tensor:
        ctx.transpose = transpose
        return torch.from_numpy(matrix @ dense.detach().numpy())

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[None, None, Tensor]:
        return None, None, torch.from_numpy(ctx.transpose @ gradients[0].contiguous().numpy())
