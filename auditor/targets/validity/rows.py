"""Every row that applies to a target, in order. See docs/methods/target-checks.md."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from auditor.data.graph import Graph
from auditor.data.hygiene.items import alike, copy_row, pool_of, unknown_rows
from auditor.document import ValidityRow, check
from auditor.errors import AuditorError, CapabilityError
from auditor.split_report import corrected, counted, verb
from auditor.statistics.intervals import wilson
from auditor.statistics.resplit import twins_across
from auditor.statistics.two_sample import rank_sum_z
from auditor.targets.capabilities import TRIAL_ERRORS
from auditor.targets.edge_use import EdgeUse, beside
from auditor.targets.relabelling import TOLERANCE
from auditor.targets.relaxation import NO_ANSWER, Relaxation
from auditor.targets.resolve import call_line
from auditor.targets.rng import forked_rng
from auditor.targets.slices import GraphSlices
from auditor.targets.target import Capability, Target
from auditor.targets.validity.causes import SUMMATION_TOLERANCE, cause_rows
from auditor.targets.validity.elsewhere import device_rows
from auditor.targets.validity.trial import Trial
from auditor.tasks import log_probabilities, output_kind

DEPENDENCE, SATURATED = 1e-6, 1e-6
GRADIENT_TARGETS, MAX_ZERO_GRADIENTS = 200, 0.05
GRADIENT_WORK = 400_000_000  # feature entries differentiated in all: fewer targets on wide graphs
RELAXED_EDGES = 10
WORTH_LOSING = 0.10  # above the constant predictor; what is less is nothing that a fall could be seen in
REMEMBERED = 5.0  # drawn splits of five models stayed below 2.8, the true ones of overfit models above 8


def validity_rows(target: Target, rng: np.random.Generator) -> tuple[ValidityRow, ...]:
    """Every row that applies to `target`; the model, the graph and the global generators are left as they were.

    Of a target with coarser answers the rows are about the model beneath: a step of rounding turns the last bit of a
    sum into a tenth, and gradients into 0.
    """
    with forked_rng():  # a model that draws in eval mode draws from them
        return _rows(target.beneath(), rng)


def _rows(target: Target, rng: np.random.Generator) -> tuple[ValidityRow, ...]:
    trial = Trial.of(target, rng)
    causes = cause_rows(trial)
    finite = causes[0].status == "pass"
    use = EdgeUse.of(target, rng.spawn(1)[0]) if target.graph.num_edges else None
    unused = use is not None and use.kind == "unused"
    rows = [_call(trial), *causes, _reference(trial), _clean_accuracy(trial), _split(trial)]
    rows += [_edge_dependence(trial, use), _beats_constant(trial), _gradient(trial, finite=finite, unused=unused)]
    rows += [_output_scale(trial), _output_kind(trial), _relaxation_gap(trial, unused=unused), _graph_hygiene(trial)]
    rows.append(_copies(trial))
    return (*rows, *device_rows(trial))


def _call(trial: Trial) -> ValidityRow:
    """How forward is called, and what supports that."""
    said = trial.target.provenance.get("call")
    if said is None:
        return check("call", "integrity", None, "called as (x, edge_index, edge_weight, batch), which nothing proves")
    return check("call", "integrity", said["status"], call_line(said))


def _reference(trial: Trial) -> ValidityRow:
    stored = trial.target.provenance.get("reference")
    if stored is None:
        evidence = "no reference file: nothing proves that the rebuilt model is the saved one"
        return check("reference", "integrity", None, evidence)
    difference, scale = stored["difference"], stored["scale"]
    agrees = difference <= TOLERANCE * scale
    return check(
        "reference",
        "integrity",
        agrees,
        f"stored and recomputed logits differ by {difference:.2g} on a scale of {scale:.3g}",
    )


def _clean_accuracy(trial: Trial) -> ValidityRow:
    target = trial.target
    if not target.split.is_known:
        measured = target.accuracy(target.graph.labelled)
        evidence = f"accuracy {measured:.4f} on all items with a label, those that it was trained on among them"
        return check("clean-accuracy", "integrity", None, evidence)
    measured, n = target.accuracy(), target.split.sizes[2]
    if target.claimed_accuracy is None:
        evidence = f"test accuracy {measured:.4f} on {n} items; nothing is claimed to compare it with"
        return check("clean-accuracy", "integrity", None, evidence)
    difference = abs(measured - target.claimed_accuracy)
    failed = difference > max(1 / n, 0.0005) + 1e-9
    return check(
        "clean-accuracy",
        "integrity",
        not failed,
        f"test accuracy {measured:.4f} on {n} items, {target.claimed_accuracy:.4f} claimed"
        + ("; another split, feature scaling or model flag than in training?" if failed else ""),
    )


def _split(trial: Trial) -> ValidityRow:
    y, split = trial.target.graph.y, trial.target.split
    if not split.is_known:
        return check("split", "integrity", None, "nobody named the items that it was trained on")
    strange = sorted(set(y[split.test].tolist()) - set(y[split.train].tolist()))
    evidence = f"{split.spec}: {split.sizes[0]} train, {split.sizes[1]} validation, {split.sizes[2]} test items"
    if strange:
        evidence += f"; classes {strange} are tested and never trained on"
    z = _remembered(trial)
    if z >= REMEMBERED:
        evidence += f"; consistent with training: losses on test items lie above those on training items (z = {z:.1f})"
    swapped = z <= -REMEMBERED
    if swapped:
        evidence += f"; losses on test items lie below those on training items (z = {z:.1f}): train and test swapped?"
    return check("split", "integrity", "warn" if swapped and not strange else not strange, evidence)


def _remembered(trial: Trial) -> float:
    """How far losses on test items lie above those on training items of the same class, as a z.

    Memorisation can confirm a split and never refute it: a model that generalises has a z near 0 on the true one.
    """
    y, split = trial.target.graph.y, trial.target.split
    losses = -log_probabilities(trial.clean).gather(1, y.clamp(min=0)[:, None])[:, 0].nan_to_num(torch.inf).numpy()
    train, test = (torch.nonzero(mask).flatten().numpy() for mask in (split.train, split.test))
    return rank_sum_z(losses[train], losses[test], y.numpy()[train], y.numpy()[test])


def _edge_dependence(trial: Trial, use: EdgeUse | None) -> ValidityRow:
    """Whether edges move the answers: a model that no edge can move is well; one that only seems so is not."""
    graph = trial.target.graph
    if use is None:
        evidence = "the graph has no edges"
        return check("edge-dependence", "integrity", None, evidence)
    keep = torch.from_numpy(trial.rng.random(graph.num_edges) >= 0.1)
    keep[int(trial.rng.integers(graph.num_edges))] = False  # on a tiny graph the draw may keep everything
    dropped, none = graph.keeping(keep), graph.keeping(torch.zeros_like(keep))
    edits = {"drop of 10 %": dropped, "drop of all": none, "rewiring": _rewired(graph, trial.rng)}
    moved, failed = {}, []
    for name, edited in edits.items():
        try:
            moved[name] = trial.distance(trial.run(edited))
        except (*TRIAL_ERRORS, AuditorError):  # a user's forward may divide by the number of edges
            failed.append(name)
    if use.kind != "used":
        return check("edge-dependence", "integrity", use.kind == "unused", use.evidence)
    if not moved:
        return check("edge-dependence", "integrity", None, f"the forward fails after every edit: {', '.join(failed)}")
    blind = max(moved.values()) <= DEPENDENCE * trial.scale
    held = trial.handle.dropped_caches
    evidence = "logits move by at most " + ", ".join(f"{value:.2g} ({name})" for name, value in moved.items())
    if blind:
        evidence += "; next to nothing, and not nothing: an MLP in disguise, or a cached adjacency"
    if failed:
        evidence += f"; the forward fails after {', '.join(failed)}"
    if held:
        evidence += f"; a cached adjacency was dropped from {', '.join(held)}"
    return check("edge-dependence", "integrity", "fail" if blind else "warn" if held else "pass", evidence)


def _rewired(graph: Graph, rng: np.random.Generator) -> Graph:
    """Every edge gets another end, inside its own graph."""
    first = graph.edge_index[0]
    return replace(graph, edge_index=torch.stack([first, beside(graph, first, rng)]))


def _beats_constant(trial: Trial) -> ValidityRow:
    target, n = trial.target, trial.target.split.sizes[2]
    y = target.graph.y
    if not target.split.is_known:
        return check("beats-constant", "strength", None, "the test items are not known")
    constant = target.task.constant_quality(y[target.split.test])  # whatever the training labels say
    right = int(target.task.correct(trial.clean, y)[target.split.test].sum())
    lo, hi = wilson(right, n)
    seen = f"test accuracy {right / n:.3f} [{lo:.3f}, {hi:.3f}], constant predictor {constant:.3f}"
    if lo > constant:
        return check("beats-constant", "strength", True, seen)
    if right / n > constant and hi >= constant + WORTH_LOSING:  # so few items prove neither: no failure of the model
        return check("beats-constant", "strength", "warn", f"{seen}; {n} test items are too few to tell them apart")
    return check("beats-constant", "strength", False, f"{seen}; there is nothing to lose")


def _gradient(trial: Trial, *, finite: bool, unused: bool) -> ValidityRow:
    """The share of test items whose loss has no gradient to the features, and whether edges have one at all.

    Edges that can change nothing need none.

    One row that is not finite spoils the gradient of every other: a product of 0 and NaN is NaN. Features that are not
    there, or that are whole numbers, have none to look for.
    """
    target, graph = trial.target, trial.target.graph
    edges = unused or Capability.GRAD_EDGE in target.capabilities
    has = "edges need none" if unused else "edges have one" if edges else "none reaches a weight of its edges"
    if not graph.num_features or graph.whole_x:
        what = "the features are whole numbers" if graph.num_features else "the graph has no features"
        return check("gradient", "strength", edges, f"{what}; {has}")
    test = torch.nonzero(target.split.test if target.split.is_known else graph.labelled).flatten().numpy()
    affordable = max(25, GRADIENT_WORK // max(1, graph.x.numel())) if graph.batch is None else len(test)
    count = min(GRADIENT_TARGETS, affordable, len(test))
    ids = torch.from_numpy(np.sort(trial.rng.choice(test, count, replace=False)))
    if graph.batch is not None:  # only these graphs are run
        graph, ids = GraphSlices(graph).take(ids), torch.arange(count)
    x = graph.x.clone().requires_grad_(True)
    out = trial.handle.logits(x, graph.edge_index, graph.edge_weight, graph.batch, graph.fields)
    losses = target.task.loss(out[ids], graph.y[ids])
    zero, lost = count, False
    if losses.requires_grad and graph.batch is not None:
        total = torch.autograd.grad(losses.sum(), x, allow_unused=True)[0]  # graphs share no node: one pass for all
        if total is not None:
            lost = not bool(torch.isfinite(total).all())
            size = total.abs().sum(dim=1).nan_to_num(0.0, posinf=0.0)
            zero = int((torch.zeros(count).index_add_(0, graph.batch, size) == 0).sum())
    elif losses.requires_grad:
        zero = 0
        for loss in losses:
            own = torch.autograd.grad(loss, x, retain_graph=True, allow_unused=True)[0]
            spoiled = own is not None and not bool(torch.isfinite(own).all())
            zero, lost = zero + (own is None or spoiled or not bool(own.any())), lost or spoiled
    if lost and not finite:
        return check("gradient", "strength", None, "explained by finite: gradients go through what is not finite")
    failed = zero > MAX_ZERO_GRADIENTS * count or not edges
    of = counted(count, "test item" if target.split.is_known else "labelled item")
    return check(
        "gradient",
        "strength",
        not failed,
        f"{zero} of {of} {verb(zero, count, 'has', 'have')} no gradient to the features; {has}",
    )


def _output_scale(trial: Trial) -> ValidityRow:
    top = trial.clean.double().softmax(dim=1).max(dim=1).values
    share = float((top > 1 - SATURATED).double().mean())
    return check(
        "output-scale",
        "strength",
        not (share > 0.5),
        f"{share:.1%} of the items have a largest probability above 1 - 1e-6"
        + ("; saturated outputs hide differences and gradients" if share > 0.5 else ""),
    )


def _output_kind(trial: Trial) -> ValidityRow:
    kind = trial.target.provenance.get("outputs", output_kind(trial.clean))
    return check(
        "output-kind",
        "warning",
        kind != "probs",
        "the model returns probabilities; their logarithm is used as logits"
        if kind == "probs"
        else "the model returns " + ("log-probabilities" if output_kind(trial.clean) == "log_probs" else "logits"),
    )


def _relaxation_gap(trial: Trial, *, unused: bool) -> ValidityRow:
    """Whether weights of 1 and 0 mean "there" and "removed"."""
    target, graph = trial.target, trial.target.graph
    if unused:
        return check("relaxation-gap", "warning", None, "no edge can change an answer: there is nothing to relax")
    soft = Relaxation.choose(target.handle(), num_features=graph.num_features, level=target.task.level, graph=graph)
    exact = soft.is_exact
    evidence = soft.describe()
    native = _native_gaps(trial)
    if native is not None:
        at_one, at_zero = (f"{gap:.2g}" if np.isfinite(gap) else NO_ANSWER for gap in native)
        evidence += f"; its own edge_weight: {at_one} at weight 1, {at_zero} at weight 0 against removal"
        exact = exact and native[0] <= SUMMATION_TOLERANCE * trial.scale and native[1] <= trial.tolerance
    if soft.kind == "none":
        evidence += "; attacks that follow a gradient to edges do not apply"
    elif not exact:
        evidence += "; approximate, every result is verified on real edges"
    return check("relaxation-gap", "warning", exact, evidence)


def _native_gaps(trial: Trial) -> tuple[float, float] | None:
    """Logit differences of weight 1 against None and weight 0 against removal; None without an edge weight argument."""
    graph = trial.target.graph
    if not trial.handle.takes_edge_weight or not graph.num_edges or graph.edge_weight is not None:
        return None
    gone = torch.zeros(graph.num_edges, dtype=torch.bool)
    gone[torch.from_numpy(trial.rng.permutation(graph.num_edges)[:RELAXED_EDGES])] = True
    ones = torch.ones(graph.num_edges)
    try:
        at_one = trial.run(graph.with_edges(graph.edge_index, ones))
        at_zero = trial.run(graph.with_edges(graph.edge_index, torch.where(gone, 0.0, ones)))
    except (RuntimeError, ValueError, TypeError, CapabilityError):
        return None  # the argument is there and the model refuses it
    removed = trial.run(graph.keeping(~gone))
    return trial.distance(at_one), trial.distance(at_zero, removed)


def _graph_hygiene(trial: Trial) -> ValidityRow:
    graph = trial.target.graph
    loops = int((graph.edge_index[0] == graph.edge_index[1]).sum())
    arcs = graph.arc_keys(include_loops=False)
    reverse = (arcs % graph.num_nodes) * graph.num_nodes + arcs // graph.num_nodes
    one_way = int((~torch.isin(arcs, reverse)).sum())
    duplicates = graph.num_edges - int(graph.arc_keys().numel())
    touched = torch.zeros(graph.num_nodes, dtype=torch.bool)
    proper = graph.edge_index[:, graph.edge_index[0] != graph.edge_index[1]]
    touched[proper.flatten()] = True
    constant = int((graph.x == graph.x[0]).all(dim=0).sum())
    isolated = int((~touched).sum())
    counts = (
        (duplicates, "duplicate edge", "duplicate edges"),
        (loops, "self-loop", "self-loops"),
        (one_way, "edge without its reverse", "edges without their reverse"),
        (isolated, "node without edges", "nodes without edges"),
        (constant, f"of {graph.num_features} features is constant", f"of {graph.num_features} features are constant"),
    )
    seen = [f"{count} {one if count == 1 else many}" for count, one, many in counts if count]
    matters = duplicates + loops + one_way > 0 or isolated > 0 or 0 < constant == graph.num_features
    if _is_identity(graph.x):
        matters = True
        seen.append("features are the identity: they name the node")
    return check(
        "graph-hygiene",
        "warning",
        not matters,
        ", ".join(seen) or "no duplicates, self-loops, one-way edges, isolated nodes or constant features",
    )


def _copies(trial: Trial) -> ValidityRow:
    """Test items with an exact copy in train, as `auditor split` finds them, and the accuracy without them."""
    target, graph = trial.target, trial.target.graph
    level = target.task.level
    if not target.split.is_known:
        row = unknown_rows(level)[-1]
        return check(row.id, "warning", None, row.evidence)
    pool, found = pool_of(target.split, graph.y), alike(graph)
    (row,) = corrected([copy_row(found, pool, pool.ids, level)])
    evidence = row.evidence
    if found.groups is not None and row.found:
        copied = torch.from_numpy(pool.ids[twins_across(found.groups[pool.ids], pool.is_train)])
        others = target.split.test.clone()
        others[copied] = False
        evidence += f"; test accuracy {target.accuracy():.4f}"
        evidence += (
            f", {target.accuracy(others):.4f} without them" if bool(others.any()) else ", and there are no others"
        )
    return check(row.id, "warning", None if row.status == "not_checked" else row.status != "leak", evidence)


def _is_identity(x: Tensor) -> bool:
    """Whether each row holds a single 1 and no two rows share its column."""
    if x.shape[0] != x.shape[1] or not bool(((x == 0) | (x == 1)).all()):
        return False
    return bool((x.sum(dim=0) == 1).all() and (x.sum(dim=1) == 1).all())
