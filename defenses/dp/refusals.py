"""What would print an ε and mean none: refused before anything is trained, with the honest number and a way to go on.

Imports no torch by itself: `defenses.table` reads `NOT_OFFERED`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from auditor.errors import PerRecordShapeError, SkippedError
from auditor.guarantee import Level

if TYPE_CHECKING:
    from torch import nn

    from auditor.data.graph import Graph
    from auditor.targets.target import Target
    from defenses.fitting import Trains

NOT_OFFERED: Mapping[str, str] = {
    "dp-flat": (
        "DP-Flat (arXiv 2403.04124) distils from a copy that was trained without privacy and perturbs weights "
        "by gradients without noise; neither step has an (epsilon, delta). Use dp-graph:sat-rho=0.1, which perturbs by "
        "the gradient that was released before."
    ),
    "dp-sam": (
        "a SAM perturbation from the current gradient looks at the private batch a second time, and no "
        "noise covers that look. Use dp-graph:sat-rho=0.1 (DP-SAT, arXiv 2306.05651), which perturbs by the gradient "
        "that the step before released."
    ),
    "gap-ndp": (
        "GAP's node-level variant fits the description of a method that a later paper (arXiv 2311.06888) "
        "reports as flawed. Use gap for edges, dp-node for nodes."
    ),
}
"""Methods that a user may ask for by id and that have no guarantee to offer: id -> why, and what to use."""


@dataclass(frozen=True, slots=True)
class SharedGraphBounds:
    """What plain DP-SGD on the nodes of one graph claims, and what holds at the same noise.

    Attributes:
        naive: ε of the ordinary accountant, which takes every node for a record of its own.
        bounded: multi-term ε if each node kept K neighbours at most and r hops were read: M = Σ K^i terms.
        terms: that M.
        unbounded: the same with no limit on the degree: one node may enter the term of every training node.
    """

    naive: float
    bounded: float
    terms: int
    unbounded: float


def shared_graph_bounds(
    population: int, drawn: int, sigma: float, steps: int, delta: float, *, kept: int = 4, hops: int = 1
) -> SharedGraphBounds:
    """Naive and multi-term ε at the same noise.

    Args:
        population: N training nodes.
        drawn: b nodes a step, on average or exactly.
        sigma: noise std on the sum of clipped gradients / C.
        steps: T.
        delta: in (0, 1).
        kept: K, and
        hops: r of the bounded-degree subgraphs that `bounded` supposes.
    """
    from auditor.statistics.accounting import multi_term_epsilon, subsampled_gaussian
    from defenses.dp.rooted import occurrence_bound

    terms = min(occurrence_bound(kept, hops), population)

    def spent(m: int) -> float:
        return multi_term_epsilon(population, drawn, m, sigma / (2 * m), steps, delta)

    naive = subsampled_gaussian(drawn / population, sigma, steps, delta).epsilon
    return SharedGraphBounds(naive, spent(terms), terms, spent(population))


def refuse_shared_graph(
    name: str,
    level: Level,
    *,
    population: int,
    drawn: int,
    sigma: float,
    steps: int,
    delta: float,
    kept: int = 4,
    hops: int = 1,
) -> NoReturn:
    """Refuses plain DP-SGD where the records are nodes or edges of one graph and nothing bounds their degree.

    Args:
        name: what was asked for, as the message should call it.
        level: that a claim would be made at.
        population: as in `shared_graph_bounds`.
        drawn: likewise.
        sigma: likewise.
        steps: likewise.
        delta: likewise.
        kept: likewise.
        hops: likewise.

    Raises:
        SkippedError: always; with the ε that plain DP-SGD would claim and the multi-term bounds at the same noise.
    """
    found = shared_graph_bounds(population, drawn, sigma, steps, delta, kept=kept, hops=hops)
    unit = "a node" if level == "node" else f"one unit of the {level} level"
    raise SkippedError(
        f"{name} is refused at {level} level: the {population} training nodes share one graph, so that {unit} "
        "enters the gradients of its neighbours too, and clipping one row bounds nobody's influence. At noise "
        f"{sigma:.3g} C (b = {drawn}, T = {steps}, δ = {delta:.2g}) the ordinary accountant would "
        f"claim ε = {_number(found.naive)}; the multi-term bound is ε = {_number(found.bounded)} if every node kept at "
        f"most K = {kept} neighbours (r = {hops}: M = {found.terms} terms), and ε = {_number(found.unbounded)} with no "
        f"bound on the degree (up to M = {population} terms). Use dp-node, which keeps such lists and adds noise "
        "for M terms; for edges gap, edge-rand or lap-graph."
    )


def refuse_defended(defense: Trains, target: Target) -> None:
    """Nothing, for a target as it was given.

    Raises:
        SkippedError: the target is a defended one already; for clusters with the reason why the two do not add up.
    """
    from auditor.parameters import spec_of
    from defenses.fitting import refuse_second

    if target.defense is not None and target.defense.spec.partition(":")[0] == "joint-cluster":
        raise SkippedError(
            f"{spec_of(defense)} cannot be trained on top of {target.defense.spec}. Its prototypes are means over many "
            "training nodes, made again in each step: every record's gradient depends on other records, so that "
            "clipping one bounds nobody's influence. Give the undefended target."
        )
    refuse_second(defense, target)


def check_opacus(
    module: nn.Module,
    graph: Graph,
    optimizer: object = None,
    *,
    steps: int = 1,
    population: int | None = None,
    delta: float | None = None,
) -> None:
    """Looks at a training that is set up with Opacus alone, before its first step; nothing, where rows are records.

    For users' own scripts, after `make_private`: `check_opacus(module, graph, optimizer, steps=T)`.

    Args:
        module: as `make_private` returned it, in any mode (hooks, functorch, ew, ghost, no_op).
        graph: what it trains on.
        optimizer: a DPOptimizer; its batch size and noise are what the bounds are printed for.
        steps: T planned.
        population: training nodes; None for all.
        delta: None for the default at that population.

    Raises:
        SkippedError: the records are nodes of one graph (`refuse_shared_graph`), or a layer has no per-record form.
        PerRecordShapeError: PyG layers under Opacus, which takes each *row* for a record: nodes, not graphs.
    """
    from opacus.optimizers import DPOptimizer
    from torch_geometric.nn import MessagePassing

    from auditor.statistics.accounting import default_delta
    from defenses.dp.privatise import refuse_layers
    from defenses.dp.record_layers import RecordBias, RecordLinear

    if graph.batch is None and isinstance(optimizer, DPOptimizer):
        units = population or graph.num_items
        refuse_shared_graph(
            "DPOptimizer over the nodes of one graph",
            "node",
            population=units,
            drawn=min(int(optimizer.expected_batch_size), units),
            sigma=float(optimizer.noise_multiplier),
            steps=steps,
            delta=delta or default_delta(units),
        )
    if any(isinstance(layer, RecordLinear | RecordBias) for layer in module.modules()):
        return  # rewritten already, by `privatise`
    raw = {name: type(layer).__name__ for name, layer in module.named_modules() if isinstance(layer, MessagePassing)}
    if raw:
        found = ", ".join(f"{kind} ({name})" for name, kind in raw.items())
        raise PerRecordShapeError(
            f"{type(module).__name__} holds {found}. Opacus takes every row for a record, and rows are the "
            f"{graph.num_nodes} nodes; expected one record a {'root' if graph.batch is None else 'graph'}. Some of "
            "these layers crash, others (GINConv with fixed eps) run and clip per node. Use dp-graph or dp-node, whose "
            "layers know which record a row belongs to."
        )
    refuse_layers(module)


def _number(epsilon: float) -> str:
    return f"{epsilon:.3g}" if epsilon < 1e4 else f"{epsilon:.1e}"
