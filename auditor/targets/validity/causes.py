"""Why a model's answer to one graph is not one answer: found by exact tests, each of which rules the later ones out.

In this order: it is not finite; it differs from call to call; the model has a row per node; it breaks ties by the order
of the nodes; it reads other graphs of its batch. What none of them explains has no known cause, and is said so. A row
that an earlier one explains is not checked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from auditor.data.graph import Graph
from auditor.document import ValidityRow, check
from auditor.split_report import counted, verb
from auditor.targets.node_table import find_node_table, may_have_a_table
from auditor.targets.relabelling import Relabelling
from auditor.targets.rng import forked_rng
from auditor.targets.slices import GraphSlices
from auditor.targets.validity.trial import Trial
from auditor.targets.validity.watching import Watch

FORWARDS = 5
SUMMATION_TOLERANCE = 1e-5
LONE_GRAPHS = 10
JITTER, JITTERS = 1e-3, 3  # of the features' spread; a lesser one is lost in rounding
RELABELLINGS = 5
NAMED = 5


def cause_rows(trial: Trial) -> list[ValidityRow]:
    """Rows `finite` to `equivariant`; `node-table` of one graph, `batch-independent` of many."""
    graph = trial.target.graph
    order = Relabelling.draw(graph, trial.rng)
    lone = None
    if graph.batch is not None:
        lone = np.sort(trial.rng.choice(graph.num_items, min(LONE_GRAPHS, graph.num_items), replace=False))
    rows = [_finite(trial), _deterministic(trial)]
    if rows[-1].status == "fail":
        left = ["ties", "equivariant"]
        left = ["node-table", *left] if lone is None else [*left, "batch-independent"]
        return [*rows, *(_explained(id_, "deterministic") for id_ in left)]
    moved = float(trial.moved(order).max())
    table = find_node_table(trial.target.model, graph, relabelling=order, clean=trial.clean)
    if table is not None:
        said = f"{_listed(table.tensors)} {'has' if len(table.tensors) == 1 else 'have'} a row per node"
        evidence = f"{said}: relabelling moves logits by {table.moved:.2g}, and by {table.left:.2g} with it permuted"
        rows += [check("node-table", "integrity", True, f"{evidence}; the model knows these nodes only")]
        rows += [_explained("ties", "node-table"), _explained("equivariant", "node-table")]
    else:
        if lone is None:
            evidence = "no tensor of the model has a row per node"
            if moved > trial.tolerance and may_have_a_table(trial.target.model, graph.num_nodes):
                evidence = f"permuting the tensors with a side of {graph.num_nodes} along does not undo a relabelling"
            rows.append(check("node-table", "integrity", True, evidence))
        rows.append(_ties(trial, order))
        by_ties = rows[-1].status == "warn"
        rows.append(_explained("equivariant", "ties") if by_ties else _equivariant(trial, order, moved))
    if lone is not None:
        rows.append(_batch_independent(trial, lone))
    return rows


def _explained(id_: str, by: str) -> ValidityRow:
    return check(id_, "integrity" if id_ != "ties" else "warning", None, f"explained by {by}")


def _listed(names: tuple[str, ...]) -> str:
    more = len(names) - NAMED
    return ", ".join(names[:NAMED]) + (f" and {more} more" if more > 0 else "")


def _finite(trial: Trial) -> ValidityRow:
    lost = ~torch.isfinite(trial.clean)
    rows = lost.any(dim=1)
    bad, of = int(rows.sum()), trial.clean.shape[0]
    if not bad:
        having = f"0 of {counted(of, 'item')} {verb(0, of, 'has', 'have')}"
        return check("finite", "integrity", True, f"{having} a NaN or infinite logit")
    kinds = [word for word, seen in (("NaN", trial.clean.isnan()), ("infinity", trial.clean.isinf())) if seen.any()]
    ids = torch.nonzero(rows).flatten()
    shared = next((name for name, every in _shared(trial.target.graph) if bool(every[rows].all())), "")
    first = ", ".join(map(str, ids[:NAMED].tolist()))
    what = f"all {shared}" if shared else f"number {first}{', …' if bad > NAMED else ''} of {of}"
    return check("finite", "integrity", False, f"{' or '.join(kinds)} on {bad} item{'' if bad == 1 else 's'}, {what}")


def _shared(graph: Graph) -> Iterator[tuple[str, Tensor]]:
    """What items may have in common, each with the items that have it."""
    proper = graph.edge_index[:, graph.edge_index[0] != graph.edge_index[1]]
    touched = torch.zeros(graph.num_nodes, dtype=torch.bool)
    touched[proper.flatten()] = True
    if graph.batch is None:
        yield "isolated nodes", ~touched
    else:
        joined = torch.zeros(graph.num_items, dtype=torch.bool)
        joined[graph.batch[touched]] = True
        yield "graphs without edges", ~joined
        lonely = torch.zeros(graph.num_items, dtype=torch.bool)
        lonely[graph.batch[~touched]] = True
        yield "graphs with isolated nodes", lonely


def _deterministic(trial: Trial) -> ValidityRow:
    """Two forwards with one seed, and others with others; a model that draws differs in the latter alone."""
    graph, watch = trial.target.graph, Watch()
    runs = []
    for seed in (0, 0, *range(1, FORWARDS - 1)):
        with forked_rng(seed), watch:
            runs.append(trial.run(graph))
    same = trial.distance(runs[1], runs[0])
    worst = max(same, *(trial.distance(run, other) for run in runs for other in (trial.clean, runs[0])))
    limit = SUMMATION_TOLERANCE * trial.scale
    failed = worst > limit
    cause = ""
    if failed and same > limit:
        cause = f"; two with the same seed differ by {same:.2g}: it keeps state between calls"
    elif failed:
        cause = "; equal with the same seed: it is drawn at random"
        cause += ": dropout without training=self.training?" if watch.drops else ""
    return check(
        "deterministic",
        "integrity",
        "fail" if failed else "warn" if worst > 0 else "pass",
        f"{FORWARDS} forwards in eval mode differ by at most {worst:.2g} on logits up to {trial.scale:.3g}{cause}",
    )


def _ties(trial: Trial, order: Relabelling) -> ValidityRow:
    """Whether equal keys of a sort are put in the order of the nodes, and how many labels hang on that."""
    graph = trial.target.graph
    with Watch() as watch:
        trial.run(graph)
    if not watch.tied:
        seen = "no keys are sorted" if not watch.sorts else "keys are sorted, and none are equal"
        return check("ties", "warning", True, f"{seen} in a forward")
    orders = [order, *(Relabelling.draw(graph, trial.spare) for _ in range(RELABELLINGS - 1))]
    moves = [int((trial.moved(each) > trial.tolerance).sum()) for each in orders]
    if not any(moves):
        return check("ties", "warning", True, f"equal keys are sorted; in {RELABELLINGS} other orders no logit moves")
    worst = int(np.argmax(moves))

    def still(jittered: Graph) -> bool:
        return not bool((trial.moved(orders[worst], jittered, trial.run(jittered)) > trial.tolerance).any())

    if not _without_ties(trial, still):
        evidence = "equal keys are sorted; with features jittered apart the answers move all the same"
        return check("ties", "warning", None, evidence)
    flips = [int(trial.labels(each).sum()) for each in orders]
    items = f"{moves[worst]} of {graph.num_items} {'nodes' if graph.batch is None else 'graphs'}"
    flipped = f"{flips[worst]} label{'' if flips[worst] == 1 else 's'} flip{'s' if flips[worst] == 1 else ''}"
    floor = max(flips) / graph.num_items
    row = check(
        "ties",
        "warning",
        False,
        f"breaks ties by node order: {items} move, {flipped}; with features jittered apart nothing moves; "
        f"{RELABELLINGS} orders flip at most {floor:.2%} of the labels",
    )
    return row.model_copy(update={"noise_floor": floor})


def _without_ties(trial: Trial, holds: Callable[[Graph], bool]) -> bool:
    """Whether something holds once features are jittered, each node's apart from the others'."""
    graph = trial.target.graph
    if not graph.num_features or graph.whole_x:
        return False  # there is nothing to jitter
    spread = float(graph.x.std()) or float(graph.x.abs().max()) or 1.0
    for _ in range(JITTERS):
        drawn = torch.from_numpy(trial.spare.standard_normal(graph.x.shape, dtype=np.float32))
        if holds(replace(graph, x=graph.x + JITTER * spread * drawn)):
            return True
    return False


def _equivariant(trial: Trial, order: Relabelling, moved: float) -> ValidityRow:
    """Relabels nodes (inside each graph) and reorders edges."""
    cause = ""
    if failed := moved > trial.tolerance:
        parts = (("node", order.of_nodes_alone), ("edge", order.of_edges_alone))
        blamed = [name for name, part in parts if float(trial.moved(part).max()) > trial.tolerance]
        cause = f"; depends on {' and '.join(blamed) or 'node and edge'} order; cause not found"
    evidence = f"relabelling nodes and reordering edges moves logits by at most {moved:.2g}{cause}"
    return check("equivariant", "integrity", not failed, evidence)


def _batch_independent(trial: Trial, ids: np.ndarray[tuple[int], np.dtype[np.int64]]) -> ValidityRow:
    """Graphs alone against the same graphs in their batch."""
    graph = trial.target.graph

    def difference(given: Graph, clean: Tensor) -> float:
        slices = GraphSlices(given)
        return max(trial.distance(trial.run(slices.take(torch.tensor([i]))), clean[i : i + 1]) for i in ids)

    worst = difference(graph, trial.clean)
    evidence = f"{len(ids)} graphs alone and inside their batch differ by at most {worst:.2g}"
    if worst <= trial.tolerance:
        return check("batch-independent", "integrity", True, evidence)
    with Watch() as watch:
        trial.run(graph)
    if watch.tied and _without_ties(trial, lambda g: difference(g, trial.run(g)) <= trial.tolerance):
        return check(
            "batch-independent", "integrity", None, f"{evidence}; explained by ties: not with features jittered"
        )
    norms = _norms_without_statistics(trial.handle.model)
    if norms:
        with _left_out(norms):
            alone = difference(graph, trial.run(graph))
        if alone <= trial.tolerance:
            cause = f"batch statistics: {_listed(tuple(norms))} {'has' if len(norms) == 1 else 'have'} no running ones"
            return check("batch-independent", "integrity", False, f"{evidence}; {cause}")
    return check("batch-independent", "integrity", False, f"{evidence}; reads other graphs of its batch")


def _norms_without_statistics(model: nn.Module) -> dict[str, nn.Module]:
    """Norms that take mean and spread from what they are given, also in eval mode."""
    found: dict[str, nn.Module] = {}
    for name, module in model.named_modules():
        inside = [each for each in module.modules() if isinstance(each, _NormBase)]
        own = isinstance(module, _NormBase) or type(module).__module__.startswith("torch_geometric.nn.norm")
        kept = any(each.running_mean is not None for each in inside)
        if own and not kept and not any(name.startswith(f"{outer}.") for outer in found):
            found[name] = module
    return found


@contextmanager
def _left_out(modules: dict[str, nn.Module]) -> Iterator[None]:
    """Inside: these modules answer what they are given."""
    hooks = [
        module.register_forward_hook(
            lambda _module, args, kwargs, _out: args[0] if args else kwargs["x"], with_kwargs=True
        )
        for module in modules.values()
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
