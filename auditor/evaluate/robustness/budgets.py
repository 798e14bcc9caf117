"""Edit budgets: decimal shares of the edges, turned into whole flips without rounding errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Literal

import torch
from torch import Tensor

from auditor.data.edits import EdgeSpace
from auditor.errors import ConfigError
from auditor.registry import Profile

BudgetOf = Literal["edges", "targets", "absolute"]
ONE = "one"
"""One edit of each of many graphs, as a budget."""
NODE_EPS: dict[Profile, tuple[str, ...]] = {
    "quick": ("0.05",),
    "standard": ("0.01", "0.05", "0.1", "0.25"),
    "full": ("0.01", "0.02", "0.05", "0.1", "0.15", "0.25"),
}
GRAPH_EPS: dict[Profile, tuple[str, ...]] = {
    "quick": ("one", "0.05"),
    "standard": ("one", "0.01", "0.05", "0.1"),
    "full": ("one", "0.01", "0.05", "0.1"),
}


@dataclass(frozen=True, slots=True, eq=False)
class Level:
    """One budget.

    Attributes:
        subset: how measurements name it (`eps=0.05`, `flips=100`, `flips=1`).
        eps: share of the edges: as asked for, or what it comes to when the budget is of something else.
        budget: flips in all.
        item_budgets: flips allowed in each attacked graph, int64 [n]; None for one graph.
        on_curve: whether it is a point of the curve of accuracy against budget: one flip in every graph is none.
    """

    subset: str
    eps: float
    budget: int
    item_budgets: Tensor | None = None
    on_curve: bool = True


def flips_for(eps: str, m: int) -> int:
    """max(1, floor(eps * m)), exact: int(0.29 * 100) would be 28."""
    return max(1, int(Fraction(eps) * m))


def parse_eps(words: Sequence[str], budget_of: BudgetOf) -> list[str]:
    """The budgets in ascending order, written without trailing zeros; 0 is left out (it is always evaluated).

    Raises:
        ValueError: not a number, outside [0, 1] (absolute: not a whole number above 0), or given twice.
    """
    parsed: list[Decimal] = []
    for word in words:
        try:
            value = Decimal(word)
        except InvalidOperation:
            raise ValueError(f'eps="{word}" is not a decimal number; write eps=0.01/0.05.') from None
        if not value.is_finite() or value < 0 or (budget_of != "absolute" and value > 1):
            raise ValueError(f"eps={word}; expected a share in [0, 1], such as 0.05.")
        if budget_of == "absolute" and value != int(value):
            raise ValueError(f"eps={word} with budget_of=absolute; expected a whole number of flips.")
        parsed.append(value)
    if len(set(parsed)) != len(parsed):
        raise ValueError(f"eps={'/'.join(words)} names a budget twice.")
    return [f"{value.normalize():f}" for value in sorted(parsed) if value > 0]


def node_levels(
    space: EdgeSpace,
    targets: Tensor,
    eps: Sequence[str],
    budget_of: BudgetOf,
    profile: Profile,
    *,
    counted: EdgeSpace | None = None,
) -> tuple[Level, ...]:
    """Budgets that all targets of one graph share; shares are of the edges of `counted` (default: of `space`).

    Raises:
        ValueError: a malformed budget; `Settings` has refused it by now.
        ConfigError: more flips than there are pairs.
    """
    words = parse_eps(eps or NODE_EPS[profile], budget_of)
    counted = counted or space
    m = counted.m
    if budget_of == "targets":
        chosen = torch.zeros(space.graph.num_nodes, dtype=torch.bool)
        chosen[targets] = True
        u, v = counted.ends(counted.existing)
        m = int((chosen[u] | chosen[v]).sum())
    levels = []
    for word in words:
        budget = int(word) if budget_of == "absolute" else flips_for(word, m)
        if budget > space.num_pairs:
            raise ConfigError(f"{budget} flips asked for; the graph has {space.num_pairs} pairs.")
        name = f"flips={word}" if budget_of == "absolute" else f"eps={word}"
        levels.append(Level(name, float(word) if budget_of == "edges" else budget / counted.m, budget))
    return tuple(levels)


def graph_levels(space: EdgeSpace, targets: Tensor, eps: Sequence[str], profile: Profile) -> tuple[Level, ...]:
    """Budgets of each graph for itself: one flip, then shares of its own edges, at least one flip.

    Raises:
        ValueError: a malformed budget; `Settings` has refused it by now.
    """
    words = list(eps or GRAPH_EPS[profile])
    shares = parse_eps([word for word in words if word != ONE], "edges")
    batch = space.graph.batch
    if batch is None:
        raise ValueError("graph_levels needs many graphs; this is one")
    edges = torch.bincount(batch[space.ends(space.existing)[0]], minlength=space.graph.num_items)[targets]
    sizes = torch.bincount(batch)[targets]
    pairs = sizes * (sizes - 1) // (1 if space.directed else 2)
    mean = max(1.0, float(edges.double().mean()))
    levels = []
    if ONE in words:
        one = pairs.clamp_max(1)
        levels.append(Level("flips=1", 1 / mean, int(one.sum()), one, on_curve=False))
    for word in shares:
        own = torch.tensor([flips_for(word, int(m)) for m in edges]).minimum(pairs)
        levels.append(Level(f"eps={word}", float(Fraction(word)), int(own.sum()), own))
    return tuple(levels)


def node_caps(space: EdgeSpace, local_cap: float) -> Tensor | None:
    """floor(cap * degree) flips at each node, int64 [N]; None when no cap was asked for.

    Args:
        space: of the graph whose degrees count.
        local_cap: share of the degree, >= 0.
    """
    if local_cap == 0:
        return None
    degree = torch.bincount(torch.cat(space.ends(space.existing)), minlength=space.graph.num_nodes)
    return (local_cap * degree.double()).floor().long()
