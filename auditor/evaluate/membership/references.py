"""Models of the target's recipe, trained on other items of the same data: what LiRA compares the target with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from auditor.data.graph import Split
from auditor.document import ValidityRow, check
from auditor.evaluate.membership.queries import FULL, margins
from auditor.probe import Cell
from auditor.registry import Profile
from auditor.shared import content
from auditor.statistics import draws
from auditor.statistics.two_sample import ks_distance, ks_permutation_p
from auditor.targets.target import Target
from auditor.view import Access, References, grant_privacy

HARNESS = "membership"
"""Name of the random streams that all membership probes share; fixed for ever."""
REFERENCES: Mapping[Profile, int] = {"quick": 8, "standard": 16, "full": 32}
"""Models of the target's recipe, trained on other items of the same data: what LiRA compares the target with."""
CLOSE = 0.05
"""Points of accuracy, and of the generalisation gap, by which references may always differ from the target."""
SURE = 0.01
FAR = 0.1
"""Level of the two-sample test, and least distance of confidences that counts: any two trainings differ a little."""
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Made:
    """References, and how right they are: bool [K, items]."""

    references: References
    right: Tensor


def made_references(cell: Cell, access: frozenset[Access], count: int) -> Made:
    """`count` models of the target's recipe; trained once for all probes of one seed that ask alike."""
    target = cell.target
    split = target.split
    asked = access - {Access.REFERENCES}
    words = (sorted(asked), sorted(asdict(cell.side).items()), count, cell.seed)
    data = target.private_graph.digest()

    def make() -> Made:
        cell.tick(None, f"{count} reference models")
        splits = drawn_splits(split, target.graph.y, count, draws.generator(cell.seed, HARNESS, "references"))
        seeds = [draws.integer(cell.seed, HARNESS, "reference", str(k)) for k in range(count)]
        tables, right = [], []
        for model in target.retrained_many(splits, seeds):
            view = grant_privacy(model, asked, cell.side, draws.generator(cell.seed, HARNESS, "view"))
            tables.append(margins(view))
            right.append(target.task.correct(model.clean_logits(), target.graph.y))
        shared = [query for query in tables[0] if all(query in table for table in tables)]
        found = References(
            candidates=split.train | split.test,
            trained_on=torch.stack([each.train for each in splits]),
            margins={query: torch.stack([table[query] for table in tables]) for query in shared},
        )
        return Made(found, torch.stack(right))

    return cell.models.shared.once(
        ("references", target.digest, data, content(split.train, split.val, split.test, *words)), make
    )


def drawn_splits(split: Split, y: Tensor, count: int, rng: np.random.Generator) -> list[Split]:
    """Splits with as many members of each class as `split`, drawn from its members and others; validation stays.

    Items that were drawn least often come first, so that each is in and out of equally many models, give or take one:
    where half are members, every second model is trained on those that the one before was not.
    """
    candidates = split.train | split.test
    pools = [torch.nonzero(candidates & (y == c)).flatten().numpy() for c in torch.unique(y[candidates]).tolist()]
    sizes = [int(split.train[torch.from_numpy(pool)].sum()) for pool in pools]
    drawn = [np.zeros(len(pool), dtype=np.int64) for pool in pools]
    made = []
    for _ in range(count):
        train = torch.zeros_like(split.train)
        for pool, size, times in zip(pools, sizes, drawn, strict=True):
            chosen = np.lexsort((rng.random(len(pool)), times))[:size]
            times[chosen] += 1
            train[torch.from_numpy(pool[chosen])] = True
        made.append(replace(split, train=train, test=candidates & ~train))
    return made


def fewest_each_way(split: Split, y: Tensor, count: int) -> int:
    """Of so many splits of `drawn_splits`: how many an item is surely trained on in, and surely left out of."""
    candidates = split.train | split.test
    pools = [candidates & (y == c) for c in torch.unique(y[candidates]).tolist()]
    sizes = [(int(pool.sum()), int((pool & split.train).sum())) for pool in pools]
    return min((count * least // n for n, inside in sizes for least in (inside, n - inside)), default=0)


def references_row(target: Target, made: Made, phi: Tensor, rng: np.random.Generator) -> ValidityRow:
    """Whether the references are like the target: then what they know of an item holds for the target as well.

    Accuracy on items that were not trained on, and the gap to the accuracy on members, within 5 points of their means
    or within twice their spread: the target is one more draw, and a few dozen items are no more exact than that. And
    confidences on such items that lie no farther from the others' than those of every reference do, or no farther than
    the two-sample test lets pass.

    Args:
        target: under attack.
        made: the references.
        phi: how sure the target's served answers are of the true classes, float64 [items].
        rng: of the two-sample test.
    """
    split, inside = target.split, made.references.trained_on
    outside = made.references.candidates & ~inside
    accuracy = [_rate(right, mask) for right, mask in zip(made.right, outside, strict=True)]
    gaps = [_rate(right, mask) - out for right, mask, out in zip(made.right, inside, accuracy, strict=True)]
    right = target.task.correct(target.clean_logits(), target.graph.y)
    own = _rate(right, split.test)
    own_gap = _rate(right, split.train) - own
    off, gap_off = abs(own - float(np.mean(accuracy))), abs(own_gap - float(np.mean(gaps)))
    table = made.references.margins[FULL]
    rows = [each[mask].numpy() for each, mask in zip(table, outside, strict=True)]
    distance, farthest, p = _confidences(phi[split.test].numpy(), rows, rng)
    alike = p > SURE or distance <= max(farthest, FAR)
    evidence = (
        f"{len(accuracy)} references, accuracy {np.mean(accuracy):.3f} outside their members (target {own:.3f}), "
        f"gap to members {np.mean(gaps):.3f} (target {own_gap:.3f}); confidences {distance:.2f} apart, those of one "
        f"reference up to {farthest:.2f} (p {p:.3f})"
    )
    close = all(
        difference <= max(CLOSE, 2 * float(np.std(each, ddof=1)))
        for difference, each in ((off, accuracy), (gap_off, gaps))
    )
    return check("references", "strength", close and alike, evidence, holding=Access.REFERENCES)


def _confidences(own: Floats, rows: Sequence[Floats], rng: np.random.Generator) -> tuple[float, float, float]:
    """Distance of the target's phi from the references', the largest of one reference from the others, and a p value.

    Args:
        own: of the target, on items that it was not trained on.
        rows: of each reference, likewise.
        rng: of the two-sample test.
    """
    pooled = np.concatenate(rows)
    farthest = max(ks_distance(row, _rest(rows, k)) for k, row in enumerate(rows))
    return ks_distance(own, pooled), farthest, ks_permutation_p(own, pooled, rng=rng)


def _rest(rows: Sequence[Floats], k: int) -> Floats:
    return np.concatenate([row for place, row in enumerate(rows) if place != k])


def _rate(right: Tensor, mask: Tensor) -> float:
    return float(right[mask].double().mean())
