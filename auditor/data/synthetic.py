"""Generated graph classification tasks with a spurious part, and the groups behind them; x = 1 on every node.

They resemble the tasks of the literature (Spurious-Motif, GOODMotif) with motifs, widths and noise of our own: numbers
on them never belong into a published table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from auditor.data.graph import Graph, Split
from auditor.data.raw import Raw
from auditor.errors import ConfigError, DataError, SplitError, nearest

Pairs = list[tuple[int, int]]
VALIDATION_SHARE = 0.1
LABEL_NOISE = 0.1


@dataclass(frozen=True, slots=True, eq=False)
class SyntheticSet:
    """Graphs of several sets side by side, with what only their generator knows.

    Attributes:
        graph: all sets, task `graph`, float32 ones [N, 1].
        group: (class before label noise, spurious part) of each graph, int64 [B].
        true_y: class before label noise, int64 [B]: what the best possible classifier answers.
        sets: name -> bool [B]. `train` and `val` carry the training correlation; `id` too, `ood` carries none and
            `flip`, where there is one, the opposite; `val-ood` of the covariate sets is another domain and never
            selects a model.
    """

    graph: Graph
    group: Tensor
    true_y: Tensor
    sets: Mapping[str, Tensor]

    def split(self, test: str = "ood") -> Split:
        """Training and validation items, and one of the test sets.

        Raises:
            SplitError: there is no such test set; the nearest one is offered.
        """
        tests = [name for name in self.sets if name not in ("train", "val", "val-ood")]
        if test not in tests:
            raise SplitError(f'{self.graph.name} has no test set "{test}". {nearest(test, tests)}')
        return Split(self.sets["train"], self.sets["val"], self.sets[test], spec=test)


@dataclass(frozen=True, slots=True)
class _Item:
    """One generated graph: nodes, undirected pairs, class before noise, group."""

    n: int
    pairs: Pairs
    y: int
    group: int


# --- parts; each is (number of nodes, undirected pairs) -------------------------------------------------------------

HOUSE: tuple[int, Pairs] = (5, [(0, 1), (1, 2), (2, 3), (3, 0), (0, 4), (1, 4)])
CYCLE5: tuple[int, Pairs] = (5, [(i, (i + 1) % 5) for i in range(5)])
CYCLE6: tuple[int, Pairs] = (6, [(i, (i + 1) % 6) for i in range(6)])
TRIANGLE_TAIL: tuple[int, Pairs] = (5, [(0, 1), (1, 2), (2, 0), (2, 3), (3, 4)])
SQUARE_PENDANT: tuple[int, Pairs] = (5, [(0, 1), (1, 2), (2, 3), (3, 0), (0, 4)])
TWO_TRIANGLES: tuple[int, Pairs] = (6, [(0, 1), (1, 2), (2, 0), (3, 4), (4, 5), (5, 3), (2, 3)])
STAR: tuple[int, Pairs] = (8, [(0, i) for i in range(1, 8)])

OTHER_CORES = (CYCLE5, CYCLE6, TRIANGLE_TAIL, SQUARE_PENDANT)
MOTIFS = (HOUSE, CYCLE6, TWO_TRIANGLES)


def wheel(width: int) -> tuple[int, Pairs]:
    """A hub and a rim of `width` nodes."""
    rim = [(1 + i, 1 + (i + 1) % width) for i in range(width)]
    return width + 1, rim + [(0, 1 + i) for i in range(width)]


def binary_tree(width: int) -> tuple[int, Pairs]:
    """A full binary tree with `width` leaves, 2 * width - 1 nodes in heap order."""
    n = 2 * width - 1
    return n, [((i - 1) // 2, i) for i in range(1, n)]


def ladder(width: int) -> tuple[int, Pairs]:
    """Two rails of `width` nodes and a rung between each two."""
    rails = [(i, i + 1) for i in range(width - 1)] + [(width + i, width + i + 1) for i in range(width - 1)]
    return 2 * width, rails + [(i, width + i) for i in range(width)]


def star(width: int) -> tuple[int, Pairs]:
    """A hub and `width` leaves."""
    return width + 1, [(0, 1 + i) for i in range(width)]


def path(width: int) -> tuple[int, Pairs]:
    """A line of `width` nodes."""
    return width, [(i, i + 1) for i in range(width - 1)]


BASES = (wheel, binary_tree, ladder)


# --- generators -----------------------------------------------------------------------------------------------------


def spurious_motif(mu: float = 0.9, *, train: int = 1000, test: int = 1000, rng: np.random.Generator) -> SyntheticSet:
    """House against other cores on a random tree, with a star that goes along with the house at rate `mu`.

    y ~ U{0, 1}; a Barabási–Albert tree of 15 to 30 nodes; the core is joined by one random edge; the star by another,
    with probability mu if y = 1, else 1 - mu; max(1, floor(.05 nodes)) random extra edges; 10 % of the labels redrawn
    uniformly (so that 95 % is the ceiling). group = 2 y + star. `ood` has mu = .5, `flip` 1 - mu.

    Args:
        mu: in [0, 1].
        train: training items, a tenth of them validation.
        test: items of each of `id`, `ood`, `flip`.
        rng: the only source of randomness.
    """
    if not 0 <= mu <= 1:
        raise ConfigError(f"spurious-motif: mu = {mu}; expected a probability.")

    def one(rate: float) -> Callable[[], _Item]:
        def draw() -> _Item:
            y = int(rng.integers(2))
            n, pairs = _random_tree(int(rng.integers(15, 31)), rng)
            core = HOUSE if y == 1 else OTHER_CORES[int(rng.integers(len(OTHER_CORES)))]
            n, pairs = _joined(n, pairs, core, rng)
            has_star = bool(rng.random() < (rate if y == 1 else 1 - rate))
            if has_star:
                n, pairs = _joined(n, pairs, STAR, rng)
            pairs = _with_extra(n, pairs, max(1, int(0.05 * n)), rng)
            return _Item(n, pairs, y, 2 * y + int(has_star))

        return draw

    plan = [("train", train, one(mu)), ("id", test, one(mu)), ("ood", test, one(0.5)), ("flip", test, one(1 - mu))]
    return _assemble(f"synthetic/spurious-motif:mu={mu:g}", plan, 2, rng)


def basis_concept(
    r: float | tuple[float, ...] = 0.8, *, train: int = 1000, test: int = 1000, rng: np.random.Generator
) -> SyntheticSet:
    """One of three motifs on one of three bases, where the base tells the motif at rate r + (1 - r) / 3.

    motif m ~ U{house, 6-cycle, two triangles joined by an edge}; the base of number m with probability r, else a
    uniform one of {wheel, binary tree, ladder}, width ~ U{5..15}; one joining edge; 5 % of the edges added at random;
    10 % of the labels redrawn uniformly (ceiling 93.3 %). group = 3 m + base. `ood` has r = 0: base independent of
    motif. There is no `flip`: with three classes there is no one opposite.

    Args:
        r: in [0, 1]; of several, one is drawn per training graph (and per `id` graph).
        train: training items, a tenth of them validation.
        test: items of each of `id`, `ood`.
        rng: the only source of randomness.
    """
    rates = r if isinstance(r, tuple) else (r,)
    if not rates or min(rates) < 0 or max(rates) > 1:
        raise ConfigError(f"basis-concept: r = {r}; expected probabilities.")

    def one(rates: tuple[float, ...]) -> Callable[[], _Item]:
        def draw() -> _Item:
            m = int(rng.integers(3))
            follows = rng.random() < rates[int(rng.integers(len(rates)))]
            base = m if follows else int(rng.integers(3))
            return _on_base(m, base, BASES[base](int(rng.integers(5, 16))), rng)

        return draw

    plan = [("train", train, one(rates)), ("id", test, one(rates)), ("ood", test, one((0.0,)))]
    return _assemble(f"synthetic/basis-concept:r={'/'.join(f'{x:g}' for x in rates)}", plan, 3, rng)


def basis_covariate(*, train: int = 1000, test: int = 1000, rng: np.random.Generator) -> SyntheticSet:
    """The motifs of `basis_concept` on bases that say nothing, later on others: star (`val-ood`), path (`ood`).

    group = 5 m + base, bases numbered wheel, tree, ladder, star, path; widths ~ U{5..15}.
    """

    def one(numbers: tuple[int, ...]) -> Callable[[], _Item]:
        makers = (*BASES, star, path)

        def draw() -> _Item:
            m, base = int(rng.integers(3)), numbers[int(rng.integers(len(numbers)))]
            return _on_base(m, base, makers[base](int(rng.integers(5, 16))), rng, bases=5)

        return draw

    seen = one((0, 1, 2))
    plan = [("train", train, seen), ("id", test, seen), ("val-ood", test, one((3,))), ("ood", test, one((4,)))]
    return _assemble("synthetic/basis-covariate", plan, 3, rng)


def basis_size(*, train: int = 1000, test: int = 1000, rng: np.random.Generator) -> SyntheticSet:
    """The motifs of `basis_concept` on uniform bases of width 6, 10 or 15; 30 +- 5 in `val-ood`, 70 +- 5 in `ood`."""

    def one(widths: tuple[int, ...]) -> Callable[[], _Item]:
        def draw() -> _Item:
            m, base = int(rng.integers(3)), int(rng.integers(3))
            width = widths[int(rng.integers(len(widths)))]
            return _on_base(m, base, BASES[base](width), rng)

        return draw

    seen = one((6, 10, 15))
    around = [tuple(range(center - 5, center + 6)) for center in (30, 70)]
    plan = [
        ("train", train, seen),
        ("id", test, seen),
        ("val-ood", test, one(around[0])),
        ("ood", test, one(around[1])),
    ]
    return _assemble("synthetic/basis-size", plan, 3, rng)


def size_split(graph: Graph, train_max: int, n_train: int, n_val: int, *, rng: np.random.Generator) -> SizeSplit:
    """Trains and validates on graphs with at most `train_max` nodes; tests on all others.

    Args:
        graph: task `graph`.
        train_max: largest number of nodes of a training graph.
        n_train: graphs drawn for training and validation together.
        n_val: how many of these validate.
        rng: the only source of randomness.

    Raises:
        SplitError: fewer than n_train graphs are that small, or n_val leaves none to train on.
    """
    if graph.batch is None:
        raise SplitError(f"{graph.name} is one graph; expected a set of graphs, which have sizes.")
    sizes = torch.bincount(graph.batch).numpy()
    small = np.flatnonzero(sizes <= train_max)
    if small.size < n_train:
        raise SplitError(
            f"{small.size} graphs of {graph.name} have at most {train_max} nodes; expected at least n_train = "
            f"{n_train}. Raise train_max, or train on fewer."
        )
    if not 0 <= n_val < n_train:
        raise SplitError(f"n_val = {n_val} of n_train = {n_train} leaves nothing to train on.")
    drawn = rng.permutation(small)[:n_train]
    masks = [torch.zeros(graph.num_items, dtype=torch.bool) for _ in range(3)]
    masks[0][torch.from_numpy(drawn[n_val:])] = True
    masks[1][torch.from_numpy(drawn[:n_val])] = True
    masks[2] = ~(masks[0] | masks[1])
    large = masks[2] & torch.from_numpy(sizes > train_max)
    spec = f"size:{train_max},{n_train},{n_val}"
    return SizeSplit(Split(masks[0], masks[1], masks[2], spec=spec), masks[2] & ~large, large)


@dataclass(frozen=True, slots=True, eq=False)
class SizeSplit:
    """A split by size, and its test items in two: as small as the training graphs, and larger; bool [B] each."""

    split: Split
    test_small: Tensor
    test_large: Tensor


GENERATORS: Mapping[str, Callable[..., SyntheticSet]] = {
    "spurious-motif": spurious_motif,
    "basis-concept": basis_concept,
    "basis-covariate": basis_covariate,
    "basis-size": basis_size,
}


@dataclass(frozen=True, slots=True)
class _Asked:
    """Settings of a generated set by name, with their defaults."""

    mu: float = 0.9
    r: tuple[float, ...] = (0.8,)
    test: str = "ood"
    seed: int = 0
    items: int = 1000


def read_synthetic(name: str, variant: str) -> tuple[Raw, str]:
    """A generated set by name: `mu` or `r` (several: 0.99/0.97), `test` set, `seed`, `items` a set; and its digest.

    The masks hold every set by name beside `train`, `val` and `test`; the column `group` holds the true groups.

    Raises:
        DataError: unknown setting (nearest name offered) or a value that cannot be read.
        SplitError: no such test set.
        ConfigError: a setting out of its range.
    """
    first = {"spurious-motif": ("mu",), "basis-concept": ("r",)}.get(name, ())
    known = (*first, "test", "seed", "items")
    values: dict[str, object] = {}
    for piece in filter(None, variant.split(",")):
        key, _, text = piece.partition("=")
        if key not in known:
            raise DataError(f'synthetic/{name} has no setting "{key}". {nearest(key, known)}')
        try:
            if key == "r":
                values[key] = tuple(float(part) for part in text.split("/"))
            else:
                values[key] = {"mu": float, "test": str, "seed": int, "items": int}[key](text)
            if key == "seed" and int(text) < 0:
                raise ValueError(text)
        except ValueError:
            raise DataError(
                f'synthetic/{name}: {key}="{text}" cannot be read; write, for instance, {_EXAMPLES[key]}.'
            ) from None
    asked = _Asked(**values)  # type: ignore[arg-type]
    own = {key: getattr(asked, key) for key in first}
    made = GENERATORS[name](**own, train=asked.items, test=asked.items, rng=np.random.default_rng(asked.seed))
    split = made.split(asked.test)
    graph = made.graph
    masks = {**made.sets, "train": split.train, "val": split.val, "test": split.test}
    note = f"generated with seed {asked.seed}; tested on the set {asked.test}; 10 % of the labels are noise"
    raw = Raw(graph.edge_index, graph.y, graph.x, None, graph.batch, masks, columns={"group": made.group}, notes=[note])
    return raw, graph.digest()


_EXAMPLES = {"mu": "mu=0.9", "r": "r=0.8 or r=0.99/0.97", "test": "test=ood", "seed": "seed=0", "items": "items=1000"}


# --- pieces ---------------------------------------------------------------------------------------------------------


def _on_base(m: int, base: int, part: tuple[int, Pairs], rng: np.random.Generator, *, bases: int = 3) -> _Item:
    n, pairs = _joined(*part, MOTIFS[m], rng)
    pairs = _with_extra(n, pairs, int(0.05 * len(pairs)), rng)
    return _Item(n, pairs, m, bases * m + base)


def _random_tree(n: int, rng: np.random.Generator) -> tuple[int, Pairs]:
    """A Barabási–Albert tree (m = 1): each new node joins an old one with probability proportional to its degree."""
    ends = [0, 1]  # every node as often as its degree
    pairs = [(0, 1)]
    for v in range(2, n):
        u = ends[int(rng.integers(len(ends)))]
        pairs.append((u, v))
        ends += (u, v)
    return n, pairs


def _joined(n: int, pairs: Pairs, part: tuple[int, Pairs], rng: np.random.Generator) -> tuple[int, Pairs]:
    """The graph and a part, joined by one random edge."""
    more, inside = part
    bridge = (int(rng.integers(n)), n + int(rng.integers(more)))
    return n + more, [*pairs, *((n + u, n + v) for u, v in inside), bridge]


def _with_extra(n: int, pairs: Pairs, count: int, rng: np.random.Generator) -> Pairs:
    """`count` new random edges on top."""
    known = {(min(p), max(p)) for p in pairs}
    extra: Pairs = []
    while len(extra) < count:
        u, v = sorted(int(i) for i in rng.integers(n, size=2))
        if u != v and (u, v) not in known:
            known.add((u, v))
            extra.append((u, v))
    return pairs + extra


def _assemble(
    name: str, plan: list[tuple[str, int, Callable[[], _Item]]], classes: int, rng: np.random.Generator
) -> SyntheticSet:
    """Draws every set, redraws 10 % of the labels, and cuts the validation items off the training set."""
    items: list[_Item] = []
    owner: list[str] = []
    for set_name, count, draw in plan:
        if count < 10:
            raise ConfigError(f"{name}: {count} items in {set_name}; expected at least 10.")
        items += [draw() for _ in range(count)]
        validation = int(VALIDATION_SHARE * count) if set_name == "train" else 0
        owner += ["val"] * validation + [set_name] * (count - validation)
    sizes = np.array([item.n for item in items])
    starts = np.cumsum(sizes) - sizes
    arcs = np.concatenate([np.array(item.pairs).T + start for item, start in zip(items, starts, strict=True)], axis=1)
    true_y = np.array([item.y for item in items])
    noisy = rng.random(len(items)) < LABEL_NOISE
    y = np.where(noisy, rng.integers(classes, size=len(items)), true_y)
    graph = Graph(
        torch.ones(int(sizes.sum()), 1),
        torch.from_numpy(np.concatenate([arcs, arcs[::-1]], axis=1)).long(),
        torch.from_numpy(y).long(),
        batch=torch.from_numpy(np.repeat(np.arange(len(items)), sizes)),
        name=name,
    )
    names = list(dict.fromkeys(["train", "val", *(n for n, _, _ in plan)]))
    sets = {n: torch.tensor([o == n for o in owner]) for n in names}
    return SyntheticSet(graph, torch.tensor([item.group for item in items]), torch.from_numpy(true_y).long(), sets)
