"""Checks of a link split: whether the pairs to be predicted can be read off the graph they are predicted on.

See docs/methods/split.md. Arcs are numbers u · M + v; everything is a sort, nothing is N × N.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from auditor.data.hygiene.items import OVERLAP
from auditor.data.hygiene.stored import ONE, Fields, Part, Relation, node_count
from auditor.data.hygiene.times import OF_PAIRS, arc_times
from auditor.data.named import whole
from auditor.errors import GraphError
from auditor.split_report import SplitRow, counted, fault, named, unchecked, verb

MOST_NODES = math.isqrt(2**63 - 1)
"""So that two ids fit in one number of 64 bits."""
ARCS = frozenset({"edge_index", "adj_t"})
CLASSES = 0.5
"""Share of pairs of label 0 that are edges, above which a label is a class of edges and not "no edge"."""
SYMMETRIC = 0.99
"""Share of arcs whose reverse is there, from which a relation is read as undirected, or as another's mirror."""


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """What is predicted in one relation of one part.

    Attributes:
        positive, negative: int64 [2, P] and [2, Q].
        timed: whether pairs and arcs have times, so that the same two nodes may meet again: what came before is then
            told by time.
    """

    positive: Tensor
    negative: Tensor
    timed: bool = False

    @property
    def all_positive(self) -> Pairs:
        """The same, every pair being an edge."""
        return Pairs(torch.cat([self.positive, self.negative], dim=1), self.negative[:, :0], self.timed)


@dataclass(frozen=True, slots=True, eq=False)
class LinkPart:
    """One part: the arcs that its predictions may read, and the pairs, each by relation."""

    messages: Mapping[Relation, Tensor]
    pairs: Mapping[Relation, Pairs]


def link_parts(parts: Mapping[str, Part], name: str) -> dict[str, LinkPart]:
    """The arcs and pairs of each part, checked.

    Raises:
        GraphError: pairs or arcs that are no ids of nodes, labels of another length, or no arcs that pairs are scored
            on.
    """
    made: dict[str, LinkPart] = {}
    for word, part in parts.items():
        if word != "train" and part.has_pairs and not any(held.keys() & ARCS for held in part.edges.values()):
            raise GraphError(
                f"{name}: the {word or 'test'} part holds pairs and no edge_index; expected the arcs that they are "
                "scored on. Save them as edge_index [2, E]."
            )
        messages = {r: _ids(_with_arcs(held), "edge_index", r, part, name) for r, held in part.edges.items()}
        pairs = {r: _pairs(held, r, part, name) for r, held in part.edges.items() if "edge_label_index" in held}
        made[word or "test"] = LinkPart({r: arcs for r, arcs in messages.items() if arcs.numel()}, pairs)
    return _without_classes(made)


def _with_arcs(held: Fields) -> Fields:
    """The fields with edge_index, taken from a transposed adjacency where that is what is kept."""
    if "edge_index" in held or "adj_t" not in held:
        return held
    arcs: Tensor = held["adj_t"].to_sparse_coo().coalesce().indices()  # type: ignore[no-untyped-call]
    return {**held, "edge_index": arcs.flip(0)}


def _ids(held: Fields, key: str, relation: Relation, part: Part, name: str) -> Tensor:
    if key not in held:
        return torch.empty(2, 0, dtype=torch.int64)
    ids = whole(held[key], key, name)
    where = "" if relation == ONE else f" of {' '.join(relation)}"
    if ids.dim() != 2 or ids.shape[0] != 2:
        raise GraphError(f"{name}: {key}{where} is {list(ids.shape)}; expected ids of nodes, [2, P], sources first.")
    for row, kind in zip(ids, (relation[0], relation[2]), strict=True):
        count = node_count(part.nodes.get(kind, {}))
        bad = torch.nonzero((row < 0) | (row >= count) if count is not None else row < 0).flatten()
        if bad.numel():
            first = ids[:, bad[0]].tolist()
            least = "" if count is None else f", and there are {count} nodes of type {kind}"
            raise GraphError(
                f"{name}: {key}{where} holds the pair {tuple(first)}{least}; expected ids from 0. Renumber the pairs "
                "with the nodes."
            )
    return ids


def _pairs(held: Fields, relation: Relation, part: Part, name: str) -> Pairs:
    """Positives and negatives; without labels every pair is a positive."""
    ids = _ids(held, "edge_label_index", relation, part, name)
    label, timed = held.get("edge_label"), OF_PAIRS in held and arc_times(held) is not None
    if label is None:
        return Pairs(ids, ids[:, :0], timed)
    if label.shape[:1] != ids.shape[1:]:
        raise GraphError(
            f"{name}: edge_label is {list(label.shape)} for {ids.shape[1]} pairs; expected a label for each pair."
        )
    positive = label.ne(0).reshape(*label.shape[:1], -1 if label.numel() else 1).any(dim=1)
    return Pairs(ids[:, positive], ids[:, ~positive], timed)


def _without_classes(parts: dict[str, LinkPart]) -> dict[str, LinkPart]:
    """The same, where labels are classes of edges (a sign, a grade) and no pair is a negative: all are positives.

    That is so where most pairs of label 0 that are trained on are arcs that are read somewhere: they were not drawn.
    """
    for relation, pairs in parts["train"].pairs.items() if "train" in parts else ():
        held = [part.messages[relation] for part in parts.values() if relation in part.messages]
        if not held or not pairs.negative.shape[1]:
            continue
        base = 1 + max(int(ids.max()) for ids in (*held, pairs.negative))
        read, drawn = (ids[0] * base + ids[1] for ids in (torch.cat(held, dim=1), pairs.negative))
        if float(torch.isin(drawn, read).double().mean()) > CLASSES:
            parts = {
                word: LinkPart(
                    part.messages, {r: p.all_positive if r == relation else p for r, p in part.pairs.items()}
                )
                for word, part in parts.items()
            }
    return parts


class Arcs:
    """Arcs of all relations as numbers, and what of them is a reverse of what."""

    def __init__(self, parts: Mapping[str, LinkPart]) -> None:
        self.parts = parts
        held = [ids for part in parts.values() for ids in part.messages.values()]
        held += [ids for part in parts.values() for own in part.pairs.values() for ids in (own.positive, own.negative)]
        self.base = 1 + max((int(ids.max()) for ids in held if ids.numel()), default=0)
        if self.base > MOST_NODES:
            raise GraphError(
                f"pairs name node {self.base - 1}; expected ids from 0, below {MOST_NODES:,}. Renumber the nodes."
            )
        relations = {r for part in parts.values() for r in (*part.messages, *part.pairs)}
        self.all = {r: self._union(r) for r in sorted(relations)}
        self.symmetric = {r: self._is_symmetric(r) for r in self.all}

    def keys(self, ids: Tensor, *, unordered: bool = False) -> Tensor:
        """One number for each pair, int64 [P]."""
        u, v = (ids.min(dim=0).values, ids.max(dim=0).values) if unordered and ids.numel() else (ids[0], ids[1])
        return u * self.base + v

    def reverse(self, keys: Tensor) -> Tensor:
        """The numbers of the reversed pairs."""
        return (keys % self.base) * self.base + torch.div(keys, self.base, rounding_mode="floor")

    def _union(self, relation: Relation) -> Tensor:
        """Every true edge of a relation that the file holds: messages and positives of all parts."""
        arcs = [part.messages[relation] for part in self.parts.values() if relation in part.messages]
        arcs += [part.pairs[relation].positive for part in self.parts.values() if relation in part.pairs]
        distinct: Tensor = torch.unique(torch.cat([self.keys(ids) for ids in arcs]))
        return distinct

    def _is_symmetric(self, relation: Relation) -> bool:
        """Whether a relation is undirected: by all of its edges, or by the messages of a part alone.

        Of a proper undirected split the test positives are there in one direction, and the messages in both.
        """
        if relation[0] != relation[2]:
            return False
        messages = [self.keys(p.messages[relation]) for p in self.parts.values() if relation in p.messages]
        return any(self._share_reversed(keys) >= SYMMETRIC for keys in (self.all[relation], *messages))

    def _share_reversed(self, keys: Tensor) -> float:
        proper = keys[self.reverse(keys) != keys]
        return float(torch.isin(self.reverse(proper), proper).double().mean()) if proper.numel() else 0.0

    def mirrors(self, relation: Relation, other: Relation) -> bool:
        """Whether `other` holds the reverse of `relation`, by content: each in the other, up to what was held out."""
        if other == relation or (other[0], other[2]) != (relation[2], relation[0]):
            return False
        back = self.reverse(self.all[other])
        known = [self.keys(p.messages[relation]) for p in self.parts.values() if relation in p.messages]
        if not back.numel() or not known:
            return False
        there = torch.isin(back, self.all[relation]).double().mean()
        return float(there) >= SYMMETRIC and float(torch.isin(known[0], back).double().mean()) >= SYMMETRIC


def link_rows(parts: Mapping[str, LinkPart]) -> Iterator[SplitRow]:
    """Every row about the pairs of a split."""
    arcs = Arcs(parts)
    for word, part in parts.items():
        for relation, pairs in part.pairs.items():
            about = word if relation == ONE else f"{word}, {' '.join(relation)}"
            if word != "train":
                yield from _tested(arcs, word, relation, pairs, about)
            if pairs.negative.shape[1]:
                yield _false_negatives(arcs, relation, pairs, about)
    yield from _shared_negatives(arcs)


def _tested(arcs: Arcs, word: str, relation: Relation, pairs: Pairs, about: str) -> Iterator[SplitRow]:
    """Of pairs that are predicted and not trained on."""
    if not pairs.positive.shape[1]:
        yield unchecked("link-in-messages", "fault", "there are no positives to look for", about=about)
        return
    if "train" in arcs.parts:
        yield _trained_on(arcs, relation, pairs, about)
    if arcs.parts[word].messages:
        yield from _visible(arcs, word, relation, pairs, about)
        yield _repeated(arcs, relation, pairs, about)
    else:
        yield unchecked("link-in-messages", "fault", "there are no arcs that they are scored on", about=about)


def _visible(arcs: Arcs, word: str, relation: Relation, pairs: Pairs, about: str) -> Iterator[SplitRow]:
    """Positives that can be read off the messages of their own part, one way or another."""
    part, keys = arcs.parts[word], arcs.keys(pairs.positive)
    own = arcs.keys(part.messages[relation]) if relation in part.messages else keys[:0]
    of, back = len(keys), arcs.reverse(keys)
    there = torch.isin(keys, own)
    yield fault(
        "link-in-messages",
        _listed(pairs.positive, there),
        of,
        _said(pairs.positive, there, "positive", "among the arcs that they are scored on") + _by_ends(pairs, there),
        "Take the pairs to be predicted out of the part's edge_index, as RandomLinkSplit does.",
        about=about,
        kind="note" if pairs.timed else "fault",
    )
    reversed_ = torch.isin(back, own) & (back != keys) & ~there
    if arcs.symmetric[relation]:
        yield fault(
            "link-reversed",
            _listed(pairs.positive, reversed_),
            of,
            _said(pairs.positive, reversed_, "positive", "there in reverse, in an undirected relation"),
            "Split undirected edges as pairs: RandomLinkSplit(is_undirected=True).",
            about=about,
        )
    elif relation[0] == relation[2]:
        yield _reciprocal(arcs, word, relation, reversed_, about)
    yield from _elsewhere(arcs, part, relation, pairs, there, about)


def _by_ends(pairs: Pairs, found: Tensor) -> str:
    return "; the same two nodes may meet again, and times are compared apart" if pairs.timed and found.any() else ""


def _trained_on(arcs: Arcs, relation: Relation, pairs: Pairs, about: str) -> SplitRow:
    """Positives that are pairs or arcs of train; where pairs have times, one may come again, and it is a note."""
    train = arcs.parts["train"]
    held = [train.pairs[relation].positive] if relation in train.pairs else []
    held += [train.messages[relation]] if relation in train.messages else []
    unordered = arcs.symmetric[relation]
    known = [arcs.keys(ids, unordered=unordered) for ids in held] or [torch.empty(0, dtype=torch.int64)]
    hit = torch.isin(arcs.keys(pairs.positive, unordered=unordered), torch.cat(known))
    return fault(
        OVERLAP,
        _listed(pairs.positive, hit),
        len(hit),
        _said(pairs.positive, hit, "positive", "among the pairs and arcs of train") + _by_ends(pairs, hit),
        "Take these pairs out of train, or out of the test.",
        about=about,
        kind="note" if pairs.timed else "fault",
    )


def _reciprocal(arcs: Arcs, word: str, relation: Relation, reversed_: Tensor, about: str) -> SplitRow:
    pairs = arcs.parts[word].pairs[relation]
    evidence = _said(pairs.positive, reversed_, "positive", "there in reverse, in a directed relation")
    told = [f"{auc:.3f} in {w}" for w in dict.fromkeys((word, "train")) if (auc := _auc(arcs, w, relation)) is not None]
    evidence += f"; “the reverse is there” alone has an AUC of {', '.join(told)}" if told else ""
    fix = "Print the AUC of “the reverse is there” beside the model's: no model is needed for it."
    return fault(
        "link-reciprocal", _listed(pairs.positive, reversed_), len(reversed_), evidence, fix, about=about, kind="note"
    )


def _auc(arcs: Arcs, word: str, relation: Relation) -> float | None:
    """Of the score "its reverse is a message arc", over the positives and negatives of a part."""
    part = arcs.parts.get(word)
    if part is None or relation not in part.pairs or relation not in part.messages:
        return None
    own, pairs = arcs.keys(part.messages[relation]), part.pairs[relation]
    sides = [arcs.reverse(arcs.keys(ids)) for ids in (pairs.positive, pairs.negative)]
    if not all(len(side) for side in sides):
        return None
    true, false = (float(torch.isin(side, own).double().mean()) for side in sides)
    return 0.5 + (true - false) / 2


def _elsewhere(
    arcs: Arcs, part: LinkPart, relation: Relation, pairs: Pairs, there: Tensor, about: str
) -> Iterator[SplitRow]:
    """Positives that another relation shows."""
    keys = arcs.keys(pairs.positive)
    for other, messages in part.messages.items():
        if other == relation:
            continue
        shown, which = arcs.keys(messages), f"{about}, seen in {' '.join(other)}"
        mirror = arcs.mirrors(relation, other)
        hit = torch.zeros_like(there)
        if (other[0], other[2]) == (relation[2], relation[0]):
            hit |= torch.isin(arcs.reverse(keys), shown)
        if (other[0], other[2]) == (relation[0], relation[2]) and not mirror:
            hit |= torch.isin(keys, shown)
        if mirror:
            yield fault(
                "link-mirror",
                _listed(pairs.positive, hit),
                len(keys),
                _said(pairs.positive, hit, "positive", f"there in {' '.join(other)}, which is the same edges reversed"),
                f"Hold the reverse out too: RandomLinkSplit(rev_edge_types=[{other!r}]).",
                about=which,
            )
        elif {other[0], other[2]} == {relation[0], relation[2]}:
            yield fault(
                "link-parallel",
                _listed(pairs.positive, hit),
                len(keys),
                _said(pairs.positive, hit, "positive", f"there in {' '.join(other)}, another relation of these nodes"),
                "Fine where that relation is known when the model predicts; else hold these pairs out there too.",
                about=which,
                kind="note",
            )


def _false_negatives(arcs: Arcs, relation: Relation, pairs: Pairs, about: str) -> SplitRow:
    unordered = arcs.symmetric[relation]
    true = arcs.all[relation]
    if unordered:
        true = torch.cat([true, arcs.reverse(true)])
    hit = torch.isin(arcs.keys(pairs.negative), true)
    return fault(
        "negative-is-positive",
        _listed(pairs.negative, hit),
        len(hit),
        _said(pairs.negative, hit, "negative", "true edges" + (", in either direction" if unordered else "")),
        "Draw negatives against all edges of all parts, in both directions where edges have none.",
        about=about,
    )


def _repeated(arcs: Arcs, relation: Relation, pairs: Pairs, about: str) -> SplitRow:
    """Equal pairs and loops.

    Positives of an undirected relation are equal in either direction; a negative that is drawn in both is not: that
    happens by chance.
    """
    loop = relation[0] == relation[2]
    found: list[tuple[int, ...]] = []
    told = []
    for ids, what, unordered in (
        (pairs.positive, "positive", arcs.symmetric[relation]),
        (pairs.negative, "negative", False),
    ):
        keys = arcs.keys(ids, unordered=unordered)
        again = _later(keys)
        loops = (ids[0] == ids[1]) & loop
        found += _listed(ids, again | loops)
        repeats = counted(int(again.sum()), "repeat"), counted(int(loops.sum()), "loop")
        told.append(f"{' and '.join(repeats)} among {counted(len(keys), what)}")
    evidence = "; ".join(told) + (f": {named(found)}" if found else "")
    total = pairs.positive.shape[1] + pairs.negative.shape[1]
    fix = "Coalesce the edges and leave out self-loops before the split: a pair that comes twice counts twice."
    return fault("pair-repeated", found, total, evidence, fix, about=about)


def _later(keys: Tensor) -> Tensor:
    """Which entries have an equal one before them, bool [P]."""
    order = torch.argsort(keys, stable=True)
    later = torch.zeros(len(keys), dtype=torch.bool)
    later[order[1:]] = keys[order[1:]] == keys[order[:-1]]
    return later


def _shared_negatives(arcs: Arcs) -> Iterator[SplitRow]:
    val, test = (arcs.parts.get(word) for word in ("val", "test"))
    if val is None or test is None:
        return
    for relation in [r for r in test.pairs if r in val.pairs]:
        ids, others = test.pairs[relation].negative, val.pairs[relation].negative
        if ids.shape[1] and others.shape[1]:
            hit = torch.isin(arcs.keys(ids), arcs.keys(others))
            about = "val and test" if relation == ONE else f"val and test, {' '.join(relation)}"
            said = _said(ids, hit, "negative", "negatives of val too")
            fix = "Draw negatives of test apart from those that the model was chosen on."
            yield fault("pair-repeated", _listed(ids, hit), len(hit), said, fix, about=about, kind="note")


def _listed(ids: Tensor, chosen: Tensor) -> list[tuple[int, ...]]:
    return [(int(u), int(v)) for u, v in ids[:, chosen].T.tolist()]


def _said(ids: Tensor, chosen: Tensor, what: str, how: str) -> str:
    """`3 of 40 positives are there in reverse: (1, 2), …`."""
    found = _listed(ids, chosen)
    be = verb(len(found), len(chosen))
    return f"{len(found):,} of {counted(len(chosen), what)} {be} {how}" + (f": {named(found)}" if found else "")


def sizes(parts: Mapping[str, LinkPart]) -> dict[str, int]:
    """Positives of each part."""
    return {word: sum(p.positive.shape[1] for p in part.pairs.values()) for word, part in parts.items()}
