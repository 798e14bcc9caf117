"""Node-level targets: a vote over copies with noise on the edges, proven, and held against really edited graphs."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
from torch import Tensor

from auditor.data.edits import EdgeSpace, settled
from auditor.data.graph import Graph
from auditor.document import ValidityRow, check
from auditor.document.audit import CheckStatus
from auditor.errors import SkippedError
from auditor.evaluate.certificate.division import Ints, winners
from auditor.evaluate.certificate.noise import BLOCKS, Draw, NoisyCopies, sizes, total
from auditor.evaluate.certificate.proof import Bools, Floats, Proof, Proven
from auditor.evaluate.certificate.settings import Settings
from auditor.evaluate.certificate.smoothing import Noise, lower_bound, upper_bound
from auditor.probe import Cell
from auditor.registry import Profile

PLUS = 0.001
SAMPLES: dict[Profile, int] = {"quick": 1_000, "standard": 10_000, "full": 100_000}
APART = 0.001
"""Votes that a block drawn again may differ in without being another block: sums in another order move an answer."""


def prove(cell: Cell, settings: Settings, items: Tensor) -> Proof:
    """The proof for these nodes, int64 [n].

    Raises:
        SkippedError: no edges, or so few copies that not even equal answers of all would prove anything.
    """
    target = cell.target
    space = EdgeSpace.of(settled(target.graph))
    if not 0 < space.m < space.num_pairs:
        raise SkippedError(f"{target.graph.name} has {space.m} of {space.num_pairs} possible edges: no noise on them")
    _require_bits(space.graph, directed=space.directed)
    noise = Noise(settings.plus or min(PLUS, space.m / space.num_pairs), settings.minus)
    samples = settings.samples or SAMPLES[cell.profile]
    n, alpha = items.numel(), settings.alpha / items.numel()
    levels: list[tuple[Proven, Callable[[float], bool]]] = []
    none = np.zeros(n, dtype=np.bool_)
    for edits in sorted(set(settings.flips)):
        levels.append((Proven("flips", edits, none), lambda p, r=edits: noise.certifies_flips(p, r)))  # type: ignore[misc]
    for edits in sorted(set(settings.deletions)):
        levels.append((Proven("deletions", edits, none), lambda p, r=edits: noise.certifies(p, 0, r)))  # type: ignore[misc]
    unanimous = float(lower_bound(np.array([samples]), samples, alpha)[0])
    open_to_proof = [level.subset for level, certifies in levels if certifies(unanimous)]
    if not open_to_proof:
        raise SkippedError(
            f"underpowered: with {samples} noisy copies and {n} nodes not even equal answers of all copies would prove "
            "anything; give samples=100000, or fewer edits"
        )

    copies = NoisyCopies(target, space, noise, items)

    def stream(*words: str) -> Draw:
        return lambda number: cell.rng("noise", *words, f"block {number}")

    def ticking(text: str) -> Callable[[float], None]:
        return lambda done: cell.tick(done, text)

    chosen = winners(total(copies.votes(settings.choosing, stream("choosing"), ticking("noisy copies: classes"))))
    blocks = copies.votes(samples, stream("counting"), ticking("noisy copies: counts"))  # fresh: none chose a class
    counts = total(blocks)[np.arange(n), chosen]
    p_low = lower_bound(counts, samples, alpha)
    certain = p_low > 0.5
    y = target.graph.y[items].numpy()
    right: Bools = chosen == y
    random, changed = _under_random_edits(cell, settings, space, noise, items, chosen)
    proven = []
    for level, certifies in levels:
        known = cache(certifies)
        certified: Bools = right & np.array([known(p) for p in p_low.tolist()])
        under = random.get(level.edits) if level.kind == "flips" else None
        proven.append(Proven(level.kind, level.edits, certified, under))
    broken = sum(int((p.certified & changed[p.edits]).sum()) for p in proven if p.kind == "flips")
    evidence = (
        f"random sets of {', '.join(str(edits) for edits in sorted(changed))} edits were made and voted on by "
        f"{settings.choosing} copies: {broken} certified answers surely changed"
    )
    shut = [level.subset for level, _ in levels if level.subset not in open_to_proof]
    reach = f"{samples} copies can prove {', '.join(open_to_proof)}" + (f", not {', '.join(shut)}" if shut else "")
    return Proof(
        model="noise",
        voters=samples,
        items=items,
        right=right,
        target=target.task.correct(target.clean_logits(), target.graph.y)[items].numpy(),
        levels=tuple(proven),
        abstained=int((~certain).sum()),
        rows=(
            check("certificate-holds", "integrity", broken == 0, evidence),
            _drawn_again_row(copies, blocks, sizes(samples), stream("counting"), cell.rng("drawn again")),
            check("within-reach", "warning", not shut, reach),
        ),
        params={
            "plus": noise.plus,
            "minus": noise.minus,
            "choosing": settings.choosing,
            "samples": samples,
            "alpha": settings.alpha,
        },
    )


def _require_bits(graph: Graph, *, directed: bool) -> None:
    """The proof is of bits: an edge that is taken away and that noise puts back must be the edge that was there.

    Raises:
        SkippedError: edges hold more than that they are there, so that copies of an edited graph are none of the graph.
    """
    weight, one_way = graph.edge_weight, 0 if directed else graph.num_one_way
    more = {
        "weights that differ": weight is not None and bool((weight != weight[0]).any()),
        f"values ({', '.join(graph.fields.edge)})": bool(graph.fields.edge),
        f"one direction only, {one_way} of them": one_way > 0,
    }
    if any(more.values()):
        raise SkippedError(
            f"edges of {graph.name} have {' and '.join(what for what, there in more.items() if there)}: one that an "
            "edit takes away and noise puts back would be another one, so that noisy copies prove nothing"
        )


def _under_random_edits(
    cell: Cell, settings: Settings, space: EdgeSpace, noise: Noise, items: Tensor, chosen: Ints
) -> tuple[dict[int, Floats], dict[int, Bools]]:
    """By number of edits: the share of draws in which each node is right, and where its class surely has no majority.

    The second is what a certificate rules out; surely, since a vote of few copies may miss a narrow majority.
    """
    y, n = cell.target.graph.y[items].numpy(), items.numel()
    random, changed = dict[int, Floats](), dict[int, Bools]()
    for edits in sorted(set(settings.flips)):
        right, lost = [], np.zeros(n, dtype=np.bool_)
        for draw in range(settings.draws):
            cell.tick(None, f"noisy copies: {edits} random edits")
            words = ("random edits", str(edits), f"draw {draw}")
            edited = EdgeSpace.of(space.toggled(space.draw(min(edits, space.num_pairs), cell.rng(*words))))
            votes = total(
                NoisyCopies(cell.target, edited, noise, items).votes(
                    settings.choosing,
                    lambda number, w=words: cell.rng("noise", *w, f"block {number}"),  # type: ignore[misc]
                )
            )
            right.append(winners(votes) == y)
            most = upper_bound(votes[np.arange(n), chosen], settings.choosing, settings.alpha / n)
            lost |= most < 0.5
        random[edits], changed[edits] = np.mean(right, axis=0).astype(np.float64), lost
    return random, changed


def _drawn_again_row(
    copies: NoisyCopies, blocks: list[Ints], of: list[int], draw: Draw, rng: np.random.Generator
) -> ValidityRow:
    """Whether one block in a hundred, drawn again, gives the same votes: what was counted is what was drawn."""
    number = int(rng.integers(min(BLOCKS, sum(of))))  # one that has a copy
    differ = int(np.abs(copies.block(of[number], draw(number)) - blocks[number]).sum())
    votes = of[number] * len(blocks[number])
    evidence = f"block {number} of {BLOCKS} was drawn again, {votes} votes: the counts differ by {differ}"
    word: CheckStatus = "pass" if not differ else "warn" if differ <= APART * votes else "fail"
    return check("votes-drawn-again", "integrity", word, evidence)
