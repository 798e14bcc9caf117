"""Cuts the nodes of one graph into clusters: METIS, Louvain, region growing, feature k-means, random.

A partition made from edges says which nodes are near each other: whoever ships one ships part of the graph.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import math
import warnings
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import networkx
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from auditor.errors import ConfigError, nearest
from auditor.statistics.draws import generator

Ints = NDArray[np.int64]
NAMES = ("auto", "metis", "louvain", "bfs", "features", "random")


@dataclass(frozen=True, slots=True, eq=False)
class Partition:
    """Which cluster each node is in.

    Attributes:
        assign: int64 [N], values in 0..K-1; a cluster may be empty (METIS may return fewer than asked).
        name: the method that ran, never `auto`.
        version: of the library it came from.
        clusters: K as asked for.
        notes: what went otherwise than asked, one line each.
    """

    assign: Tensor
    name: str
    version: str
    clusters: int
    notes: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """Name and version, what reports and digests carry."""
        return f"{self.name} {self.version}"


def has_metis() -> bool:
    """Whether the extra `metis` is installed."""
    return importlib.util.find_spec("pymetis") is not None


def resolve(name: str) -> str:
    """What `auto` stands for here: metis where it is installed, else bfs.

    Raises:
        ConfigError: unknown name, or `metis` without its extra.
    """
    if name == "auto":
        return "metis" if has_metis() else "bfs"
    if name == "metis" and not has_metis():
        raise ConfigError("partition=metis needs pymetis, which is not there. Run: pip install pymetis, or use bfs.")
    if name not in NAMES and not name.endswith(".npy"):
        raise ConfigError(f'no partition is called "{name}". {nearest(name, NAMES)}')
    return name


def partition(name: str, edge_index: Tensor, num_nodes: int, clusters: int, *, seed: int, x: Tensor) -> Partition:
    """The partition `name` of a graph; the same inputs and seed give the same clusters.

    Args:
        name: one of `NAMES`, or the path of an `.npy` file with one whole number a node.
        edge_index: int64 [2, E]; read as undirected, loops and repeats left out.
        num_nodes: N.
        clusters: K in 1..N.
        seed: of METIS, Louvain, the node order, k-means.
        x: features [N, F], read by `features` alone.

    Raises:
        ConfigError: K out of range, unknown name, missing extra, features that cannot be clustered, a bad file.
    """
    if not 1 <= clusters <= num_nodes:
        raise ConfigError(f"clusters = {clusters}; expected 1 to N = {num_nodes}.")
    wanted = resolve(name)
    if wanted.endswith(".npy"):
        return _from_file(Path(wanted), num_nodes)
    ends = clean_edges(edge_index, num_nodes)
    if wanted == "metis":
        return _metis(ends, num_nodes, clusters, seed)
    makers: Mapping[str, Callable[[], Ints]] = {
        "louvain": lambda: _louvain(ends, num_nodes, clusters, seed),
        "bfs": lambda: _grow_regions(ends, num_nodes, clusters, seed),
        "features": lambda: _k_means(x, clusters, seed),
        "random": lambda: generator(seed, "partition", "random").permutation(num_nodes) % clusters,
    }
    versions = {"louvain": networkx.__version__, "features": importlib.metadata.version("scikit-learn")}
    notes = ("metis is not installed: bfs instead",) if name == "auto" and wanted == "bfs" else ()
    return Partition(torch.from_numpy(makers[wanted]()), wanted, versions.get(wanted, "1"), clusters, notes)


def given(assign: Tensor, num_nodes: int, *, source: str = "the partition") -> Partition:
    """A partition that the user made.

    Raises:
        ConfigError: not int64 [N], a negative value, or a cluster number that is skipped.
    """
    if assign.dtype != torch.int64 or assign.shape != (num_nodes,):
        raise ConfigError(
            f"{source} is {assign.dtype} {list(assign.shape)}; expected int64 [{num_nodes}], one cluster a node."
        )
    used = torch.unique(assign)
    if int(used[0]) != 0 or int(used[-1]) != used.shape[0] - 1:
        raise ConfigError(
            f"{source} uses {used.shape[0]} cluster numbers from {int(used[0])} to {int(used[-1])}; "
            "expected 0..K-1 without gaps. Renumber the clusters."
        )
    return Partition(assign.clone(), "given", "1", int(used.shape[0]))


def statistics(assign: Tensor, edge_index: Tensor, y: Tensor, items: Tensor) -> dict[str, Any]:
    """How good a partition is, as plain values.

    Args:
        assign: int64 [N]; -1 (no cluster) is a kind of its own for cut and purity, and no cluster for the counts.
        edge_index: int64 [2, E].
        y: labels, int64 [N].
        items: ids of training nodes, int64 [n]: labels of others are not read.

    Returns:
        `edge_cut` (share of undirected edges between clusters), `purity` (share of training nodes in the majority class
        of their cluster), `occupancy_min` and `occupancy_median` (training nodes per cluster that is not empty).
    """
    ends = clean_edges(edge_index, assign.shape[0])
    cut = float((assign[ends[0]] != assign[ends[1]]).double().mean()) if ends.shape[1] else 0.0
    shifted = assign - int(assign.min())
    table = torch.zeros(int(shifted.max()) + 1, int(y[items].max()) + 1)
    table.index_put_((shifted[items], y[items]), torch.ones(items.shape[0]), accumulate=True)
    used = torch.bincount(shifted) > 0
    if int(assign.min()) < 0 < int(used.sum()) - 1:  # nodes without a cluster share no prototype
        used[0] = False
    occupancy = table.sum(dim=1)[used]
    return {
        "clusters_used": int(used.sum()),
        "edge_cut": round(cut, 6),
        "purity": round(float(table.max(dim=1).values.sum() / items.shape[0]), 6),
        "occupancy_min": int(occupancy.min()),
        "occupancy_median": float(np.median(occupancy.numpy())),
    }


def clean_edges(edge_index: Tensor, num_nodes: int) -> Ints:
    """Undirected edges, each once as (u < v), int64 [2, M], sorted; loops left out."""
    u, v = edge_index.min(dim=0).values, edge_index.max(dim=0).values
    keys = torch.unique((u * num_nodes + v)[u != v])
    return torch.stack([keys // num_nodes, keys % num_nodes]).numpy()


def _from_file(path: Path, num_nodes: int) -> Partition:
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise ConfigError(f"partition {path.name} cannot be read: {error}. Give an .npy file of int64 [N].") from None
    if values.dtype != np.int64:
        raise ConfigError(f"partition {path.name} is {values.dtype}; expected int64 [{num_nodes}].")
    return given(torch.from_numpy(values), num_nodes, source=f"partition {path.name}")


def _rows(ends: Ints, num_nodes: int) -> tuple[Ints, Ints]:
    """CSR of the symmetric adjacency: starts [N + 1] and neighbours [2M], neighbours ascending."""
    source, neighbour = np.concatenate([ends, ends[::-1]], axis=1)
    order = np.lexsort((neighbour, source))
    starts = np.concatenate([[0], np.cumsum(np.bincount(source, minlength=num_nodes))])
    return starts.astype(np.int64), neighbour[order]


def _metis(ends: Ints, num_nodes: int, clusters: int, seed: int) -> Partition:
    """k-way METIS; recursive bisection where k-way raises; region growing where that raises too.

    k-way was seen to fail on a random graph of 170 k nodes that recursive bisection cuts in 5 s.
    """
    import pymetis

    version = importlib.metadata.version("pymetis")
    notes: list[str] = []
    starts, neighbours = _rows(ends, num_nodes)
    if clusters == 1:
        return Partition(torch.zeros(num_nodes, dtype=torch.int64), "metis", version, 1)
    for recursive in (False, True):
        words = "recursive bisection" if recursive else "k-way"
        try:
            _, parts = pymetis.part_graph(
                clusters,
                pymetis.CSRAdjacency(starts, neighbours),
                recursive=recursive,
                options=pymetis.Options(seed=seed),
            )
        except Exception as error:  # METIS reports every failure as a bare RuntimeError, bad input as several others
            notes.append(f"METIS {words} failed: {type(error).__name__}: {error}")
            continue
        return Partition(torch.tensor(parts, dtype=torch.int64), "metis", version, clusters, tuple(notes))
    notes.append("bfs instead")
    grown = torch.from_numpy(_grow_regions(ends, num_nodes, clusters, seed))
    return Partition(grown, "bfs", "1", clusters, tuple(notes))


def _louvain(ends: Ints, num_nodes: int, clusters: int, seed: int) -> Ints:
    """Communities; when there are more than K, packed largest first into the least loaded of K bins."""
    graph: networkx.Graph[int] = networkx.Graph()
    graph.add_nodes_from(range(num_nodes))
    graph.add_edges_from(ends.T.tolist())
    found = [sorted(c) for c in networkx.community.louvain_communities(graph, seed=seed)]
    found.sort(key=lambda nodes: (-len(nodes), nodes[0]))
    assign, load = np.zeros(num_nodes, dtype=np.int64), np.zeros(min(clusters, len(found)), dtype=np.int64)
    for nodes in found:
        place = int(load.argmin())
        assign[nodes] = place
        load[place] += len(nodes)
    return assign


def _grow_regions(ends: Ints, num_nodes: int, clusters: int, seed: int) -> Ints:
    """Regions grown side by side from K seeded nodes, one node a turn, none above ceil(N / K).

    A region that can grow no further waits; what is left over then (other components) starts again from the first
    free node of the seeded order, in the least loaded region.
    """
    starts, neighbours = _rows(ends, num_nodes)
    order = generator(seed, "partition", "bfs").permutation(num_nodes)
    cap = math.ceil(num_nodes / clusters)
    assign, load = np.full(num_nodes, -1, dtype=np.int64), np.zeros(clusters, dtype=np.int64)
    fronts: list[deque[int]] = [deque([int(node)]) for node in order[:clusters]]

    def grow(region: int) -> bool:
        front = fronts[region]
        while front and load[region] < cap:
            node = front.popleft()
            if assign[node] < 0:
                assign[node] = region
                load[region] += 1
                front.extend(neighbours[starts[node] : starts[node + 1]].tolist())
                return True
        return False

    growing = list(range(clusters))
    while growing:
        growing = [region for region in growing if grow(region)]
    for node in order:
        if assign[node] < 0:
            region = int(load.argmin())
            fronts[region] = deque([int(node)])
            while grow(region):
                pass
    return assign


def _k_means(x: Tensor, clusters: int, seed: int) -> Ints:
    """Mini-batch k-means of the features: reads no edge.

    Raises:
        ConfigError: identity or constant features, which say nothing about which nodes are alike.
    """
    from sklearn.cluster import MiniBatchKMeans
    from sklearn.exceptions import ConvergenceWarning

    if says_nothing(x):
        raise ConfigError(
            "partition=features clusters nodes by what they are like; these features are the identity or constant. "
            "Use bfs or metis."
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer distinct rows than clusters: some stay empty
        model = MiniBatchKMeans(clusters, random_state=seed, n_init=3, batch_size=1024)
        return np.asarray(model.fit_predict(x.numpy()), dtype=np.int64)


def says_nothing(x: Tensor) -> bool:
    """Whether features are the same for all nodes, or name each node by a column of its own."""
    if bool((x == x[0]).all()):
        return True
    filled = x != 0
    return bool((filled.sum(dim=1) == 1).all() and (filled.sum(dim=0) <= 1).all())
