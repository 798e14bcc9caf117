"""Splits with a fault that was put in, and the same splits without it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch_geometric.data import Data, HeteroData, TemporalData
from torch_geometric.transforms import RandomLinkSplit
from torch_geometric.utils import coalesce, to_undirected

NODES, GRAPHS = 400, 150


@dataclass(frozen=True)
class Fault:
    """What is put in: `planted` and `benign` make data from a seed; `id` and `part` of the row that must find it.

    Attributes:
        least: how many items the row must find at least.
        status: of that row; notes decide nothing.
    """

    id: str
    planted: Callable[[int], Any]
    benign: Callable[[int], Any]
    least: int = 1
    status: str = "leak"
    about: str = ""


def arcs(seed: int, *, nodes: int = NODES, edges: int = 1200) -> torch.Tensor:
    """Directed edges without loops and repeats, few of them reciprocal."""
    rng = np.random.default_rng(seed)
    keys = np.unique(rng.integers(0, nodes, edges) * nodes + rng.integers(0, nodes, edges))
    ids = torch.from_numpy(np.stack([keys // nodes, keys % nodes]))
    return ids[:, ids[0] != ids[1]]


def nodes(seed: int, *, copies: int = 0, width: int = 30) -> Data:
    """Nodes with real features; some test rows are copied into train."""
    rng = np.random.default_rng(seed)
    x = torch.from_numpy(rng.random((NODES, width), dtype=np.float32))
    order = torch.from_numpy(rng.permutation(NODES))
    train, test = order[:100], order[200:]
    x[train[:copies]] = x[test[:copies]]
    return with_masks(Data(x=x, edge_index=arcs(seed), y=order % 3), train, test)


def categories(seed: int) -> Data:
    """Nodes whose one-hot features say one of 30 kinds: equal rows are no copies."""
    data = nodes(seed)
    data.x = torch.nn.functional.one_hot(torch.randint(30, (NODES,)), 30).float()
    return data


def with_masks(data: Data, train: torch.Tensor, test: torch.Tensor) -> Data:
    for name, ids in (("train_mask", train), ("test_mask", test)):
        data[name] = torch.zeros(data.num_nodes, dtype=torch.bool)
        data[name][ids] = True
    return data


def one_graph(rng: np.random.Generator) -> Data:
    n = int(rng.integers(8, 16))
    edge = to_undirected(torch.from_numpy(rng.integers(0, n, (2, 2 * n))), num_nodes=n)
    kinds = torch.from_numpy(rng.integers(0, 3, n))
    return Data(x=torch.nn.functional.one_hot(kinds, 3).float(), edge_index=edge, y=torch.tensor([int(n > 11)]))


def relabelled(graph: Data, rng: np.random.Generator) -> Data:
    """The same graph with its nodes and arcs in another order."""
    order = torch.from_numpy(rng.permutation(graph.num_nodes))
    place = torch.argsort(order)
    edge = place[graph.edge_index][:, torch.from_numpy(rng.permutation(graph.num_edges))]
    return Data(x=graph.x[order], edge_index=edge, y=graph.y)


def graphs(seed: int, *, copies: int = 0) -> tuple[list[Data], dict[str, list[int]]]:
    """Graphs with a split; some train graphs are copies of test graphs, node order aside."""
    rng = np.random.default_rng(seed)
    made = [one_graph(rng) for _ in range(GRAPHS)]
    for i in range(copies):
        made[i] = relabelled(made[GRAPHS - 1 - i], rng)
    return made, {"train": list(range(120)), "test": list(range(130, GRAPHS))}


def links(seed: int, *, directed: bool = False, undirected_split: bool | None = None) -> list[Data]:
    """[train, val, test] as PyG's own transform makes them."""
    edge = arcs(seed)
    data = Data(x=torch.ones(NODES, 1), edge_index=edge if directed else to_undirected(edge))
    torch.manual_seed(seed)
    whole = not directed if undirected_split is None else undirected_split
    return list(RandomLinkSplit(num_val=0.05, num_test=0.1, is_undirected=whole)(data))


def whole_graph_given(seed: int) -> list[Data]:
    parts = links(seed)
    parts[2].edge_index = to_undirected(arcs(seed))
    return parts


def false_negatives(seed: int) -> list[Data]:
    """20 negatives of the test are positives of train, the other way round."""
    parts = links(seed)
    train, test = parts[0], parts[2]
    false = torch.nonzero(test.edge_label == 0).flatten()[:20]
    test.edge_label_index[:, false] = train.edge_label_index[:, train.edge_label > 0][:, :20].flip(0)
    return parts


def repeated_pairs(seed: int) -> list[Data]:
    parts = links(seed)
    test = parts[2]
    true = torch.nonzero(test.edge_label > 0).flatten()
    test.edge_label_index[:, true[:10]] = test.edge_label_index[:, true[10:20]]
    return parts


def reciprocal(seed: int) -> list[Data]:
    """Directed, and half of the edges have their reverse, as friendships that were returned."""
    edge = arcs(seed)
    edge = coalesce(torch.cat([edge, edge[:, : edge.shape[1] // 3].flip(0)], dim=1))
    torch.manual_seed(seed)
    return list(RandomLinkSplit(num_val=0.05, num_test=0.1)(Data(x=torch.ones(NODES, 1), edge_index=edge)))


def typed(seed: int, *, mirror_named: bool = True, parallel: bool = False) -> list[HeteroData]:
    """Authors write papers; the reverse relation is there too."""
    data = HeteroData()
    data["author"].x, data["paper"].x = torch.ones(NODES, 2), torch.ones(NODES, 3)
    edge = arcs(seed)
    data["author", "writes", "paper"].edge_index = edge
    data["paper", "by", "author"].edge_index = edge.flip(0)
    if parallel:
        data["author", "reviews", "paper"].edge_index = torch.cat([edge[:, ::4], arcs(seed + 99)], dim=1)
    torch.manual_seed(seed)
    kind = ("author", "writes", "paper")
    reverse = [("paper", "by", "author")] if mirror_named else None
    return list(RandomLinkSplit(0.05, 0.1, edge_types=[kind], rev_edge_types=reverse)(data))


def stream(seed: int, *, cut: str = "time") -> list[TemporalData]:
    """Events split in time, at random, or inside a tie of 50."""
    rng = np.random.default_rng(seed)
    t = torch.from_numpy(np.sort(rng.integers(0, 10**6, 1000)))
    t[780:830] = t[780]
    ends = torch.from_numpy(rng.integers(0, 50, (2, 1000)))
    parts = {"time": [700, 780], "tie": [700, 820]}.get(cut, [700, 800])
    order = torch.from_numpy(rng.permutation(1000)) if cut == "random" else torch.arange(1000)
    chosen = torch.tensor_split(order, parts)
    return [TemporalData(src=ends[0][c], dst=ends[1][c], t=t[c], msg=torch.ones(len(c), 1)) for c in chosen]


def timed_links(seed: int, *, future: bool = False) -> list[Data]:
    """A link split in time; with `future`, the test reads arcs of its own time."""
    edge = arcs(seed)
    t = torch.arange(edge.shape[1])
    a, b = 700, 900
    end = edge.shape[1] if future else b
    parts = []
    for read, (lo, hi) in ((a // 2, (a // 2, a)), (a, (a, b)), (end, (b, edge.shape[1]))):
        keep = (
            torch.arange(read) if not future or read <= b else torch.cat([torch.arange(b), torch.arange(b + 20, end)])
        )
        pairs = edge[:, lo:hi] if not (future and lo == b) else edge[:, b : b + 20]
        part = Data(x=torch.ones(NODES, 1), edge_index=edge[:, keep], time=t[keep])
        part.edge_label_index, part.edge_label_time = pairs, t[lo : lo + pairs.shape[1]]
        parts.append(part)
    return parts


FAULTS = {
    "rows": Fault("row-duplicate", lambda s: nodes(s, copies=10), nodes, 10),
    "graphs": Fault("graph-duplicate", lambda s: graphs(s, copies=5), graphs, 5),
    "whole graph": Fault("link-in-messages", whole_graph_given, links, 80, about="test"),
    "undirected as directed": Fault(
        "link-reversed", lambda s: links(s, undirected_split=False), links, 100, about="test"
    ),
    "reciprocal": Fault("link-reciprocal", reciprocal, lambda s: links(s, directed=True), 20, "note", "test"),
    "mirror": Fault(
        "link-mirror",
        lambda s: typed(s, mirror_named=False),
        typed,
        80,
        about="test, author writes paper, seen in paper by author",
    ),
    "parallel": Fault(
        "link-parallel",
        lambda s: typed(s, parallel=True),
        typed,
        15,
        "note",
        "test, author writes paper, seen in author reviews paper",
    ),
    "false negatives": Fault("negative-is-positive", false_negatives, links, 20, about="test"),
    "repeated pairs": Fault("pair-repeated", repeated_pairs, links, 10, about="test"),
    "random stream": Fault(
        "future-edge", lambda s: stream(s, cut="random"), stream, 700, about="train and val before test"
    ),
    "cut in a tie": Fault("future-edge", lambda s: stream(s, cut="tie"), stream, 40, about="train and val before test"),
    "future arcs": Fault("future-edge", lambda s: timed_links(s, future=True), timed_links, 100, about="test"),
}
