"""Checks of nodes and graphs: whether test items were trained on, or have an exact twin that was."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from auditor.data.graph import Graph, Split
from auditor.data.hygiene.same_graph import EXACT_NODES, Many, content, same_graphs
from auditor.split_report import KEPT, SplitRow, counted, fault, named, unchecked, verb
from auditor.statistics.draws import generator
from auditor.statistics.estimate import Estimate
from auditor.statistics.resplit import excess_p, resplit_totals, twins_across

DRAWS = 200  # random splits for each check that is judged together with others
OVERLAP, ROWS, GRAPHS = "item-overlap", "row-duplicate", "graph-duplicate"
Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """Train and test items side by side.

    Attributes:
        ids: what each is called in its own data, int64 [n].
        is_train: bool [n]; the others are tested.
        y: labels, int64 [n]; -1 for none.
    """

    ids: Ids
    is_train: NDArray[np.bool_]
    y: Ids

    @classmethod
    def of(cls, train: Tensor, test: Tensor, y_train: Tensor, y_test: Tensor) -> Pool:
        """From ids and labels of either side, int64 each."""
        is_train = np.repeat([True, False], [len(train), len(test)])
        return cls(torch.cat([train, test]).numpy(), is_train, torch.cat([y_train, y_test]).numpy())

    @property
    def sizes(self) -> tuple[int, int]:
        """Train and test items."""
        return int(self.is_train.sum()), int((~self.is_train).sum())


def pool_of(split: Split, y: Tensor) -> Pool:
    """The train and test items of a split, with their labels of all items, int64 [items]."""
    train, test = (torch.nonzero(mask).flatten() for mask in (split.train, split.test))
    return Pool.of(train, test, y[train], y[test])


def overlap_row(pool: Pool, what: str, *, about: str = "") -> SplitRow:
    """Test items that are train items, by their ids."""
    train, test = pool.ids[pool.is_train], pool.ids[~pool.is_train]
    shared = np.intersect1d(train, test)
    found = [(int(i),) for i in shared]
    be = verb(len(shared), len(test))
    evidence = f"{len(shared):,} of {counted(len(test), f'test {what}')} {be} among the {len(train):,} of train"
    evidence += f": {named(found)}" if found else ""
    return fault(OVERLAP, found, len(test), evidence, f"Take these {what}s out of the test.", about=about)


def twin_row(
    id_: str,
    pool: Pool,
    groups: Ids,
    what: str,
    *,
    alike: str,
    size: Ids | None = None,
    tests: int = 1,
    about: str = "",
) -> SplitRow:
    """Test items with an exact twin in train, beside as many random splits of the same items; not yet judged.

    Args:
        id_: of the row.
        pool: train and test items.
        groups: equal for equal items, int64 [n] from 0.
        what: an item: node or graph.
        alike: what a twin has in common with it.
        size: of each item, int64 [n]: the size of those with a twin is then judged beside their number (Bonferroni).
            Small graphs are the same by chance; a few large ones that are copies would drown in a count.
        tests: how many such rows the audit has, for the number of random splits.
        about: node type or part.
    """
    across = twins_across(groups, pool.is_train)
    seen, (_, tested) = int(across.sum()), pool.sizes
    rng = generator(0, "split", id_, about)
    weights = np.ones((len(groups), 1)) if size is None else np.stack([np.ones(len(groups)), size], axis=1)
    ways = weights.shape[1]
    totals = resplit_totals(groups, pool.is_train, pool.y, weights, rng=rng, draws=DRAWS * tests * ways)
    here = weights[across].sum(axis=0)
    p = min(1.0, ways * min(excess_p(float(own), drawn) for own, drawn in zip(here, totals.T, strict=True)))
    quantiles = np.quantile(totals, [0.025, 0.5, 0.975], axis=0, method="nearest").T
    lo, usual, hi = (float(q) for q in quantiles[0])
    twin = _twin_of(groups, pool)
    found = [(int(pool.ids[i]), int(pool.ids[twin[i]])) for i in np.flatnonzero(across)]
    conflicts = int((across & _conflicts(groups, pool)).sum())
    evidence = f"{seen:,} of {counted(tested, f'test {what}')} {verb(seen, tested, 'has', 'have')} {alike}"
    evidence += f" (test, train: {named(found)})" if found else ""
    evidence += f", {conflicts:,} of them with another label" if conflicts else ""
    evidence += f"; in {len(totals):,} random splits of the same {what}s {usual:.0f} [{lo:.0f}, {hi:.0f}]"
    if size is not None:
        below, middle, above = quantiles[1]
        evidence += f"; their nodes and arcs {here[1]:,.0f}, there {middle:,.0f} [{below:,.0f}, {above:,.0f}]"
    return SplitRow(
        id=id_,
        kind="excess",
        status="note" if conflicts else "pass",
        about=about,
        found=seen,
        of=tested,
        expected=Estimate(value=usual, lo=lo, hi=hi, n=len(totals)),
        p=p,
        items=tuple(found[:KEPT]),
        evidence=evidence,
        fix=f"Keep copies on one side: group {what}s by content before the split, or take these out of the test.",
    )


def _twin_of(groups: Ids, pool: Pool) -> Ids:
    """Place of the first train item of each item's group; -1 without one."""
    first = np.full(int(groups.max()) + 1, -1, dtype=np.int64)
    trained = np.flatnonzero(pool.is_train)[::-1]
    first[groups[trained]] = trained
    return first[groups]


def _conflicts(groups: Ids, pool: Pool) -> NDArray[np.bool_]:
    """Items with a twin in train that has another label, bool [n]."""
    keys = groups * (int(pool.y.max()) + 2) + pool.y + 1
    kinds = np.unique(keys[pool.is_train])
    labels = np.bincount(kinds // (int(pool.y.max()) + 2), minlength=int(groups.max()) + 1)
    return labels[groups] > np.isin(keys, kinds)


@dataclass(frozen=True, slots=True, eq=False)
class Alike:
    """Which items are the same by their content.

    Attributes:
        groups: int64 [items] from 0, equal for equal items; None where content says nothing.
        exact: which were compared exactly, bool [items].
        why: why content says nothing.
        size: nodes and arcs of each graph, int64 [items]; None of nodes.
    """

    groups: Ids | None
    exact: NDArray[np.bool_]
    why: str = ""
    size: Ids | None = None


def alike(*graphs: Graph) -> Alike:
    """Of the items of one graph or set of graphs, or of several side by side: nodes by features, graphs as graphs."""
    if graphs[0].batch is None:
        return alike_rows(torch.cat([graph.x for graph in graphs]))
    many = Many.of(graphs[0])
    for other in graphs[1:]:
        many = many.beside(Many.of(other))
    arcs = np.bincount(many.graph[many.source], minlength=many.count)
    return Alike(*same_graphs(many), size=np.bincount(many.graph, minlength=many.count) + arcs)


def alike_rows(x: Tensor) -> Alike:
    """Of rows of features, float [n, F]; a row of zeros is no content that could be copied.

    Rows say nothing where at most half of them differ: equal features are then no sign of a copy.
    """
    exact = np.ones(len(x), dtype=np.bool_)
    if not x.shape[1]:
        return Alike(None, exact, "the nodes have no features")
    kinds, groups = np.unique(content([x]), return_inverse=True)
    if len(kinds) * 2 <= len(x):
        return Alike(None, exact, f"{len(kinds):,} of {len(x):,} rows of features differ: equal ones are no copies")
    bare = ~x.ne(0).any(dim=1).numpy()
    groups = groups.astype(np.int64)
    groups[bare] = len(kinds) + np.arange(int(bare.sum()))
    return Alike(groups, exact)


def copy_row(found: Alike, pool: Pool, places: Ids, level: str, *, tests: int = 1, about: str = "") -> SplitRow:
    """`row-duplicate` of nodes or `graph-duplicate` of graphs, not yet judged.

    Args:
        found: which items are the same.
        pool: train and test items.
        places: where each item of the pool stands in `found`, int64 [n].
        level: `node` or `graph`.
        tests: how many such rows are judged together.
        about: the node type.
    """
    id_ = ROWS if level == "node" else GRAPHS
    if found.groups is None:
        return unchecked(id_, "excess", found.why, about=about)
    groups = found.groups[places]
    shared = "all features of a train node" if level == "node" else "the same graph in train"
    size = None if found.size is None else found.size[places]
    row = twin_row(id_, pool, groups, level, alike=shared, size=size, tests=tests, about=about)
    large = int((twins_across(groups, pool.is_train) & ~found.exact[places]).sum())
    if not large:
        return row
    said = f"{row.evidence}; {large:,} of more than {EXACT_NODES} nodes by their Weisfeiler-Lehman hash alone"
    return row.model_copy(update={"evidence": said})


def item_rows(graph: Graph, split: Split) -> tuple[SplitRow, ...]:
    """Rows about the items of one graph or set of graphs; excesses are not yet judged."""
    level = graph.task.level
    if not split.is_known:
        return unknown_rows(level)
    pool = pool_of(split, graph.y)
    return overlap_row(pool, level), copy_row(alike(graph), pool, pool.ids, level)


def unknown_rows(level: str) -> tuple[SplitRow, ...]:
    """What is said of data whose split nobody knows."""
    why = f"nobody named the {level}s that are trained on and those that test"
    fix = 'Name them: train_mask and test_mask in the file, or a split ("masks:0", "file:split.npz").'
    id_ = ROWS if level == "node" else GRAPHS
    return unchecked(OVERLAP, "fault", why, fix), unchecked(id_, "excess", why)


def against_rows(graph: Graph, split: Split, trained: Graph, trained_on: Split) -> tuple[SplitRow, ...]:
    """Rows about test items of one set and the train items of another, whose model is to be tested on them.

    Where the split of the tested set is not known, every item with a label tests.
    """
    level = graph.task.level
    if not trained_on.is_known:
        return unknown_rows(level)
    tested = torch.nonzero(split.test if split.is_known else graph.labelled).flatten()
    train = torch.nonzero(trained_on.train).flatten()
    pool = Pool.of(train, tested, trained.y[train], graph.y[tested])
    if same_data(graph, trained):
        places = pool.ids
        fresh = pool.is_train | ~np.isin(pool.ids, train.numpy())
        first = overlap_row(pool, level)
        pool, places = Pool(pool.ids[fresh], pool.is_train[fresh], pool.y[fresh]), places[fresh]
        return first, copy_row(alike(graph), pool, places, level)
    first = unchecked(OVERLAP, "note", f"the target was trained on other data: {level}s are compared by content")
    places = np.where(pool.is_train, pool.ids, pool.ids + trained.num_items)
    return first, copy_row(alike(trained, graph), pool, places, level)


def same_data(one: Graph, other: Graph) -> bool:
    """Whether two sets are the same items in the same order, labels aside."""
    parts = ((one.x, other.x), (one.edge_index, other.edge_index), (one.batch, other.batch))
    return all(a is b if a is None or b is None else torch.equal(a, b) for a, b in parts)
