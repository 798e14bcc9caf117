"""Which rows lie nearest to each row: by comparison of all pairs, and approximately on graphs where that takes hours.

Up to `ALL_PAIRS` nodes every pair is looked at. Beyond, faiss sorts rows into cells around centres and looks into the
nearest cells alone. Forced upon a generated graph of 12,000 nodes, it finds 80 % of the steepest pairs and 72 % of the
neighbours by features, as many as with twice the cells, 32 of them looked into, and twice as long a training. That
makes an attack weaker (see the methods page), which is why smaller graphs pay for all pairs.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from scipy.sparse import csr_array
from torch import Tensor

from auditor.statistics.pair_scores import row_cosine, unit_rows
from auditor.targets.device import CPU
from auditor.view import uniform_pairs

ALL_PAIRS = 50_000
FLAT_PAIRS = 10_000
ROWS = 512
GROUP = 16  # columns of which the largest stands for all
CELLS = 2.0  # times sqrt(N)
FOUND_IN = 24  # cells that are looked into
TRAINED_ON = 20  # rows a centre
TRAININGS = 4  # passes over them


def number_of_cells(n: int) -> int:
    """Into which n rows are sorted, `FOUND_IN` of which are looked into for each."""
    return int(CELLS * n**0.5)


def pair_keys(u: Tensor, v: Tensor, n: int) -> Tensor:
    """Unordered pairs as keys min * n + max."""
    return torch.minimum(u, v) * n + torch.maximum(u, v)


def is_flat(x: Tensor) -> bool:
    """Whether the cosine of features is the same for all of 10,000 pairs: identity or constant features."""
    some = uniform_pairs(x.shape[0], FLAT_PAIRS, np.random.default_rng(0))[:, :FLAT_PAIRS]
    if float((x != 0).float().mean()) < 0.1:
        rows = csr_array(unit_rows(x).float().numpy())
        u, v = some.numpy()
        cosine = np.asarray(rows[u].multiply(rows[v]).sum(axis=1)).reshape(-1)
    else:
        cosine = row_cosine(x)(some).numpy()
    return bool(np.ptp(cosine) < 1e-6)


def nearest(rows: Tensor, k: int) -> Tensor:
    """Keys of the pairs of each row [N, d] with the k rows of largest cosine, itself excluded; sorted int64."""
    unit = unit_rows(rows).float()
    if unit.shape[0] > ALL_PAIRS:
        return _largest_products_in_cells(unit, unit, k)
    is_sparse = unit.device.type == CPU and float((unit != 0).float().mean()) < 0.1
    sparse = csr_array(unit.numpy()) if is_sparse else None

    def cosine(ids: Tensor) -> Tensor:
        if sparse is None:
            return unit[ids] @ unit.T
        return torch.from_numpy((sparse[int(ids[0]) : int(ids[-1]) + 1] @ sparse.T).toarray())

    return _largest(cosine, unit.shape[0], k, unit.device)


def largest_products(left: Tensor, right: Tensor, k: int) -> Tensor:
    """Keys of the pairs of each row u with the k rows v of largest (L R^T)_uv, itself excluded; sorted int64."""
    if left.shape[0] > ALL_PAIRS:
        return _largest_products_in_cells(left, right, k)
    return _largest(lambda ids: left[ids] @ right.T, left.shape[0], k, left.device)


def _largest(of: Callable[[Tensor], Tensor], n: int, k: int, device: torch.device) -> Tensor:
    keys = []
    for start in range(0, n, ROWS):
        ids = torch.arange(start, min(start + ROWS, n), device=device)
        values = of(ids)  # [ROWS, N]
        values[ids - start, ids] = -torch.inf
        best = _top(values, min(k, n - 1))
        keys.append(pair_keys(ids.repeat_interleave(best.shape[1]), best.reshape(-1), n))
    found: Tensor = torch.unique(torch.cat(keys))
    return found


def _top(values: Tensor, k: int) -> Tensor:
    """Columns of the k largest of each row, int64 [rows, k].

    They lie in the k groups of columns with the largest maxima, which are found in a third of the time on wide rows;
    only among equal values another one may be taken than without groups.
    """
    among = values.shape[1] // GROUP  # groups; group g holds the columns g, g + among, g + 2 among, …
    if among < GROUP * k:
        return values.topk(k, dim=1).indices
    maxima = values[:, : GROUP * among].view(-1, GROUP, among).amax(dim=1)
    groups = maxima.topk(k, dim=1).indices
    inside = groups[:, :, None] + among * torch.arange(GROUP, device=values.device)
    rest = torch.arange(GROUP * among, values.shape[1], device=values.device).expand(values.shape[0], -1)
    columns = torch.cat([inside.flatten(1), rest], dim=1)
    return columns.gather(1, values.gather(1, columns).topk(k, dim=1).indices)


def _largest_products_in_cells(left: Tensor, right: Tensor, k: int) -> Tensor:
    """The same, among the rows of the cells whose centres have the largest product; nothing is drawn."""
    import faiss  # only large graphs need it

    n, width = right.shape
    faiss.omp_set_num_threads(torch.get_num_threads())
    cells = number_of_cells(n)
    # What one side of a product gains the other one loses: columns of equal spread make distances say most.
    balance = (left.norm(dim=0) / right.norm(dim=0).clamp_min(1e-30)).clamp(1e-12, 1e12).sqrt()
    stored, asked = (np.ascontiguousarray(side.float().cpu().numpy()) for side in (right * balance, left / balance))
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(width), width, cells, faiss.METRIC_INNER_PRODUCT)
    index.cp.seed, index.cp.niter, index.cp.min_points_per_centroid = 0, TRAININGS, TRAINED_ON // 2
    index.train(stored[:: max(1, n // (TRAINED_ON * cells))])
    index.add(stored)
    index.nprobe = FOUND_IN
    _, best = index.search(asked, k + 1)
    u, v = np.repeat(np.arange(n), k + 1), best.reshape(-1)
    kept = (v >= 0) & (u != v)  # itself may be among them, and then is one too many
    found: Tensor = torch.unique(pair_keys(torch.from_numpy(u[kept]), torch.from_numpy(v[kept]), n))
    return found.to(left.device)
