"""Which graphs of a set are one and the same up to the order of their nodes.

Three rounds of Weisfeiler–Lehman colours (features, edge attributes, arcs in both directions) sort the graphs; those
that agree are compared exactly, up to 200 nodes. Everything runs over all graphs at once.

Sources: Weisfeiler and Leman, 1968; individualisation and refinement as in McKay and Piperno, "Practical graph
isomorphism, II", 2014. One branch of the search is followed: equal forms prove that two graphs are the same, and where
forms differ although the colours agree, even with each node in turn set apart, VF2 (networkx) decides.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from auditor.data.graph import Graph

ROUNDS = 3
EXACT_NODES = 200
STEPS = 50_000  # feasibility tests of VF2 for one pair
Words = NDArray[np.uint64]
Ids = NDArray[np.int64]


SIDES = tuple(np.array([word], dtype=np.uint64) for word in (0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F))
"""Tells arcs that come from arcs that leave."""
APART = np.uint64(0x5DEECE66D)
"""Tells a node that was set apart from others of its colour."""
AT_ONCE = 1_000_000  # arcs of copies of a graph that are coloured together
PLAIN = np.array([0x27D4EB2F165667C5], dtype=np.uint64)
"""The content of an arc without any attribute."""


@dataclass(frozen=True, slots=True, eq=False)
class Many:
    """Graphs side by side as numbers that are equal where the content is.

    Attributes:
        node: content of each node, uint64 [N].
        source, target: int64 [E].
        arc: content of each arc, an odd number, uint64 [E].
        graph: of each node, int64 [N], in order.
        count: B.
    """

    node: Words
    source: Ids
    target: Ids
    arc: Words
    graph: Ids
    count: int

    @classmethod
    def of(cls, graph: Graph) -> Many:
        """Of a set of graphs."""
        assert graph.batch is not None
        fields = graph.fields
        node = [graph.x, *(value for name, value in sorted(fields.node.items()) if name not in fields.ids)]
        arc = [value for name, value in sorted(fields.edge.items()) if name not in fields.ids]
        arc += [] if graph.edge_weight is None else [graph.edge_weight]
        edges = graph.edge_index.numpy()
        kinds = _odd(content(arc)) if arc else np.broadcast_to(PLAIN, graph.num_edges)
        return cls(content(node), edges[0], edges[1], kinds, graph.batch.numpy(), graph.num_items)

    def beside(self, other: Many) -> Many:
        """Both sets, the other one's graphs after these."""
        nodes = len(self.node)
        return Many(
            np.concatenate([self.node, other.node]),
            np.concatenate([self.source, other.source + nodes]),
            np.concatenate([self.target, other.target + nodes]),
            np.concatenate([self.arc, other.arc]),
            np.concatenate([self.graph, other.graph + self.count]),
            self.count + other.count,
        )

    def keeping(self, graphs: Ids) -> Many:
        """Some of the graphs, by their ids in ascending order."""
        place = np.full(self.count, -1, dtype=np.int64)
        place[graphs] = np.arange(len(graphs))
        nodes = place[self.graph] >= 0
        new = np.cumsum(nodes) - 1
        arcs = nodes[self.source]
        return Many(
            self.node[nodes],
            new[self.source[arcs]],
            new[self.target[arcs]],
            self.arc[arcs],
            place[self.graph[nodes]],
            len(graphs),
        )


def content(parts: list[Tensor]) -> Words:
    """64 bits of a hash of each row over all parts, uint64 [rows]; −0 is 0."""
    columns = [part.reshape(part.shape[0], -1) for part in parts]
    columns = [c.float() + 0.0 if c.is_floating_point() else c.long() for c in columns]
    rows = [np.ascontiguousarray(column.numpy()) for column in columns]
    if sum(row.shape[1] for row in rows) == 0:
        return np.zeros(parts[0].shape[0], dtype=np.uint64)
    joined = np.concatenate([row.view(np.uint8).reshape(row.shape[0], -1) for row in rows], axis=1)
    blake = hashlib.blake2b
    digests = b"".join(blake(row, digest_size=8).digest() for row in joined)
    return np.frombuffer(digests, dtype=np.uint64)


def same_graphs(many: Many) -> tuple[Ids, NDArray[np.bool_]]:
    """(a number for each graph, equal for those that are the same, int64 [B]; which were compared exactly, bool [B]).

    Graphs of more than 200 nodes that share a hash are taken for the same and not compared exactly.
    """
    colour = many.node
    for _ in range(ROUNDS):
        colour = _refined(many, colour)
    nodes = np.bincount(many.graph, minlength=many.count)
    arcs = np.bincount(many.graph[many.source], minlength=many.count)
    hashes = _mixed(_sums(_mixed(colour), many.graph, many.count) + _mixed(nodes.astype(np.uint64) << np.uint64(32)))
    hashes = _mixed(hashes + arcs.astype(np.uint64))
    _, classes, sizes = np.unique(hashes, return_inverse=True, return_counts=True)
    shared = sizes[classes] > 1
    exact = nodes <= EXACT_NODES
    chosen = np.flatnonzero(shared & exact)
    if not len(chosen):
        return classes.astype(np.int64), exact
    part = many.keeping(chosen)
    colours = _form_colours(part)
    words = [f"{c}" for c in classes]
    for graph, form in zip(chosen, _forms(part, colours), strict=True):
        words[graph] = f"{classes[graph]} {form}"
    first = {word: i for i, word in reversed(list(enumerate(words)))}
    _merge(words, first, classes, part, chosen)
    _, groups = np.unique(words, return_inverse=True)
    return groups.astype(np.int64), exact


def _merge(words: list[str], first: dict[str, int], classes: Ids, part: Many, chosen: Ids) -> None:
    """Gives one word to forms that differ and are the same graph all the same."""
    place = {int(graph): i for i, graph in enumerate(chosen)}
    rivals: dict[int, list[str]] = {}
    for word, graph in first.items():
        if graph in place:
            rivals.setdefault(int(classes[graph]), []).append(word)
    changed: dict[str, str] = {}
    for forms in (forms for forms in rivals.values() if len(forms) > 1):
        kept: dict[int, list[str]] = {}
        for form in forms:
            one = place[first[form]]
            alike = kept.setdefault(_one_apart(part, one), [])  # VF2 of every pair would take a day of many graphs
            equal = next((other for other in alike if _isomorphic(part, place[first[other]], one)), None)
            if equal is None:
                alike.append(form)
            else:
                changed[form] = equal
    words[:] = [changed.get(word, word) for word in words]


def _one_apart(many: Many, graph: int) -> int:
    """A number that is equal for graphs that are the same: all colourings in which one node was set apart."""
    one = many.keeping(np.array([graph]))
    nodes, colourings = len(one.node), []
    for chosen in np.array_split(np.arange(nodes), 1 + nodes * len(one.source) // AT_ONCE):
        copies = len(chosen)
        starts = np.repeat(np.arange(copies) * nodes, len(one.source))
        source, target = (np.tile(ends, copies) + starts for ends in (one.source, one.target))
        owner = np.repeat(np.arange(copies), nodes)
        side_by_side = Many(np.tile(one.node, copies), source, target, np.tile(one.arc, copies), owner, copies)
        colour = side_by_side.node.copy()
        apart = np.arange(copies) * nodes + chosen
        colour[apart] = _mixed(colour[apart] ^ APART)
        for _ in range(ROUNDS):
            colour = _refined(side_by_side, colour)
        colourings.append(_mixed(_sums(_mixed(colour), owner, copies)))
    every = np.concatenate(colourings)
    return int(_sums(_mixed(every), np.zeros(nodes, dtype=np.int64), 1)[0])


def _refined(many: Many, colour: Words) -> Words:
    """A round: the colours of a node's neighbours, by direction and content of the arc."""
    came, goes = _around(many, colour)
    return _mixed(_mixed(_mixed(colour + np.uint64(3)) + came) + goes)


def _around(many: Many, words: Words) -> tuple[Words, Words]:
    """Sums over the arcs that come to each node and over those that leave it, of a word of the other end."""
    came, goes = (_mixed(words ^ side) for side in SIDES)
    nodes = len(words)
    return _sums(came[many.source] * many.arc, many.target, nodes), _sums(
        goes[many.target] * many.arc, many.source, nodes
    )


def _form_colours(many: Many) -> Words:
    """Colours that tell every node of each graph from the others, chosen by content as far as content goes."""
    colour = _stable(many, many.node)
    if len(many.node):
        for closed in (False, True):
            colour = _stable(many, _apart(many, colour, closed=closed))
    left = np.arange(many.count)
    while True:
        part = many.keeping(left)
        inside = np.isin(many.graph, left)
        own = colour[inside]
        order = np.lexsort((own, part.graph))
        same = np.zeros(len(order), dtype=np.bool_)
        same[1:] = (own[order][1:] == own[order][:-1]) & (part.graph[order][1:] == part.graph[order][:-1])
        if not same.any():
            return colour
        graphs, place = np.unique(part.graph[order][same], return_index=True)
        picked = order[np.flatnonzero(same)[place]]  # one node of the first cell that is not a single node
        own = own.copy()
        own[picked] = _mixed(own[picked] ^ APART)
        colour[inside] = _stable(part, own)
        left = left[graphs]


def _stable(many: Many, colour: Words) -> Words:
    """Colours refined until no cell splits."""
    kinds = 0
    for _ in range(EXACT_NODES):
        found = len(np.unique(_mixed(many.graph.astype(np.uint64)) ^ colour))
        if found == kinds:
            break
        kinds, colour = found, _refined(many, colour)
    return colour


def _apart(many: Many, colour: Words, *, closed: bool) -> Words:
    """Nodes of one colour with the same neighbours, numbered: it does not matter which of them is the first.

    With `closed`, a node counts among its own neighbours, as those of a clique do.
    """
    nodes = len(colour)
    name = _mixed(np.arange(1, nodes + 1, dtype=np.uint64))
    came, goes = _around(many, name)
    if closed:
        came, goes = (side + _mixed(name ^ key) * PLAIN for side, key in zip((came, goes), SIDES, strict=True))
    key = _mixed(colour ^ _mixed(came + np.uint64(5)) ^ _mixed(goes + np.uint64(7)))
    order = np.lexsort((key, many.graph))
    begins = np.ones(nodes, dtype=np.bool_)
    begins[1:] = (key[order][1:] != key[order][:-1]) | (many.graph[order][1:] != many.graph[order][:-1])
    start = np.maximum.accumulate(np.where(begins, np.arange(nodes), 0))
    rank = np.empty(nodes, dtype=np.int64)
    rank[order] = np.arange(nodes) - start
    return np.where(rank > 0, _mixed(colour + _mixed(rank.astype(np.uint64))), colour)


def _forms(many: Many, colour: Words) -> list[str]:
    """Each graph with its nodes in the order of their colours, as a hash: nodes' contents, then arcs."""
    order = np.lexsort((colour, many.graph))
    begin = np.searchsorted(many.graph[order], np.arange(many.count))
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order)) - begin[many.graph[order]]
    owner = many.graph[many.source]
    sorted_arcs = np.lexsort((many.arc, place[many.target], place[many.source], owner))
    rows = np.stack([place[many.source], place[many.target], many.arc.view(np.int64)], axis=1)[sorted_arcs]
    ends = np.searchsorted(owner[sorted_arcs], np.arange(many.count + 1))
    nodes = np.append(begin, len(order))
    content_ = many.node[order]
    return [
        hashlib.blake2b(
            content_[nodes[i] : nodes[i + 1]].tobytes() + rows[ends[i] : ends[i + 1]].tobytes(), digest_size=16
        ).hexdigest()
        for i in range(many.count)
    ]


class _TooLongError(Exception):
    """VF2 took more steps than are worth it."""


def _isomorphic(many: Many, one: int, other: int) -> bool:
    """Whether VF2 finds the two the same within its steps; contents of nodes and arcs must agree."""
    from networkx.algorithms.isomorphism import DiGraphMatcher

    class Counting(DiGraphMatcher):  # type: ignore[misc]  # networkx has no types
        steps = 0

        def semantic_feasibility(self, one_node: Any, other_node: Any) -> bool:
            self.steps += 1
            if self.steps > STEPS:
                raise _TooLongError
            return bool(super().semantic_feasibility(one_node, other_node))

    def equal(first: dict[str, Any], second: dict[str, Any]) -> bool:
        return bool(first["is"] == second["is"])

    try:
        return bool(Counting(*(_networkx(many, i) for i in (one, other)), equal, equal).is_isomorphic())
    except _TooLongError:
        return False


def _networkx(many: Many, graph: int) -> Any:
    import networkx

    part = many.keeping(np.array([graph]))
    colour = _stable(part, part.node)
    made = networkx.DiGraph()
    made.add_nodes_from((i, {"is": int(c)}) for i, c in enumerate(colour))
    arcs: dict[tuple[int, int], list[int]] = {}
    for u, v, kind in zip(part.source.tolist(), part.target.tolist(), part.arc.tolist(), strict=True):
        arcs.setdefault((u, v), []).append(kind)
    made.add_edges_from((u, v, {"is": sorted(kinds)}) for (u, v), kinds in arcs.items())
    return made


def _mixed(words: Words) -> Words:
    """Every bit of a word spread over all of it (the finaliser of SplitMix64)."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


def _odd(words: Words) -> Words:
    """The same as factors that lose nothing modulo 2^64."""
    return _mixed(words + np.uint64(1)) | np.uint64(1)


def _sums(words: Words, into: Ids, size: int) -> Words:
    """Sums by place modulo 2^64, uint64 [size]; the order of what is added does not matter."""
    summed = torch.zeros(size, dtype=torch.int64)
    summed.index_add_(0, torch.from_numpy(np.ascontiguousarray(into)), torch.from_numpy(words.view(np.int64)))
    return summed.numpy().view(np.uint64)
