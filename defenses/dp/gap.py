"""Edge-level DP by noisy sums over neighbours: `gap`, and its control `gap:hops=0`."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from auditor.data.graph import Graph, Split
from auditor.defense import DefenseTask
from auditor.document import ValidityRow
from auditor.errors import CapabilityError, LoadError, SkippedError
from auditor.guarantee import Guarantee, Level
from auditor.parameters import parameters, spec_of
from auditor.statistics.accounting import gaussian_noise_for
from auditor.targets.capabilities import try_capabilities
from auditor.targets.rng import forked_rng
from auditor.targets.target import Fitted, ModelHandle, Target
from defenses.dp.delta import Delta, choose_delta
from defenses.dp.gap_model import GapModel, Schedule, fit, make_encoder, neighbour_sums, unit_rows
from defenses.dp.gaussian import gaussian
from defenses.dp.pairs import cells_of, contains, edge_cells, pairs_row, with_cells
from defenses.dp.released import NOT_PROTECTED, PUBLIC_COUNT
from defenses.fitting import DefenseRecipe, defended, refuse_second, train_afresh

ENCODER, ENCODER_DROPOUT = Schedule(lr=0.01, weight_decay=5e-4, epochs=200), 0.5
HEAD = Schedule(lr=0.02, weight_decay=5e-4, epochs=150)
RELEASE_ONCE = "holds while the released sums are reused: aggregating again, or on a new graph, is a new release"
ENCODING_TOLERANCE = 1e-3


@parameters
class Gap:
    """Releases K rounds of neighbour sums with Gaussian noise, once; encoder before them and head after see no edge.

    For owners whose edges are private and whose features and labels are not. It has a network of its own: nothing of
    the target but data and split is used, and no layer with batch statistics (which would mix rows before they are
    bounded) can be chosen. Whether edges help at all under ε is what the control without them answers.

    Attributes:
        epsilon: ε > 0.
        delta: δ in (0, 1/edges), or `auto`: the largest power of ten at or below 1 / (10 edges).
        hops: K, rounds of sums; 0 is the control: the same encoder and head, no edge is read, ε = 0.
        relation: `flip-pair` (an undirected edge: two rows move by a unit vector) or `flip-arc` (one row).
        hidden: width h of the encoder.

    Source: Sajadmanesh et al., "GAP: Differentially private graph neural networks with aggregation perturbation",
    USENIX Security 2023, edge level. The authors' code takes sensitivity 1, right for one arc and too small by √2 for
    an undirected edge.
    """

    epsilon: Annotated[float, Field(gt=0)] = 4.0
    delta: Delta = "auto"
    hops: Annotated[int, Field(ge=0)] = 2
    relation: Literal["flip-pair", "flip-arc"] = "flip-pair"
    hidden: Annotated[int, Field(ge=1)] = 16

    id: ClassVar[str] = "gap"
    version: ClassVar[str] = "1"
    level: ClassVar[Level] = "edge"
    releases: ClassVar[tuple[str, ...]] = ("released",)  # answers do not move with features: they come from the cache

    @property
    def sensitivity(self) -> float:
        """L2 distance by which one unit moves a sum of rows of norm at most 1."""
        return math.sqrt(2) if self.relation == "flip-pair" else 1.0

    def noise_std(self, delta: float) -> float:
        """Standard deviation s of every coordinate of every sum: sensitivity · √K / μ(ε, δ)."""
        return gaussian_noise_for(self.epsilon, delta, self.sensitivity * math.sqrt(self.hops))

    def fit(self, target: Target, task: DefenseTask) -> Target:
        """See `auditor.defense.Defense`."""
        self.planned(target, task)
        fitted = train_afresh(self, target, task)
        assert isinstance(fitted.model, GapModel)
        return self._finished(target, fitted, fitted.model)

    def planned(self, target: Target, task: DefenseTask) -> Guarantee:
        """See `auditor.mechanism.PrivateDefense`."""
        refuse_second(self, target)
        if target.task.level != "node":
            raise SkippedError("gap sums over neighbours in one private graph; this target classifies many graphs.")
        if not self.hops:
            return self._guarantee(target, task, 0.0, 0.0)
        graph = target.private_graph
        if self.relation == "flip-pair" and not graph.is_undirected:
            raise SkippedError(
                "the graph is directed: flipping one pair there may move more than the two rows that the noise is for. "
                "Use relation=flip-arc, or store both directions of every edge."
            )
        units = self._units(target)
        if not units:
            raise SkippedError("the graph has no edges: there is nothing to protect. gap:hops=0 is the same model.")
        return self._guarantee(target, task, self.epsilon, choose_delta(self.delta, units))

    def train(self, base: Target, task: DefenseTask) -> Fitted:
        """See `defenses.fitting.Trains`: encoder, one release, head."""
        start = time.perf_counter()
        guarantee, graph = self.planned(base, task), base.private_graph
        with forked_rng(task.seed):  # encoder first: it is the same for any number of hops
            encoder = fit_encoder(graph, base.split, base.num_classes, self.hidden)
            model = GapModel(encoder, self.hidden, self.hops, base.num_classes)
            task.tick(0.6, "releasing the sums")
            x0, sums = self._release(encoder, graph, guarantee.delta, task)
            rows = torch.cat([x0, *map(unit_rows, sums)], dim=1)
            fit(model.head, rows, graph.y, base.split, HEAD)
        validity: tuple[ValidityRow, ...] = ()
        if self.hops:
            model.served.hold(x0, sums)
            model.serve_on(graph)
            validity = (pairs_row(graph),) if self.relation == "flip-pair" else ()
        notes = {"noise_std": self._std(guarantee.delta, task), "seconds": time.perf_counter() - start}
        return Fitted(model.eval().requires_grad_(False), notes, guarantee=guarantee, validity=validity)

    def wrap(self, base: Target, tensors: Mapping[str, Tensor], task: DefenseTask) -> Target:
        """See `auditor.defense.Defense`; the private graph only recovers the draw that edited graphs are judged by."""
        graph = base.private_graph
        model = GapModel(make_encoder(graph.num_features, self.hidden), self.hidden, self.hops, base.num_classes)
        if self.hops:
            empty = torch.zeros(graph.num_nodes, self.hidden)
            model.served.hold(empty, [empty.clone() for _ in range(self.hops)])
        try:
            model.load_state_dict(dict(tensors), strict=True)
        except RuntimeError as error:
            raise LoadError(
                f"the saved tensors do not fit {base.name}: {error}. Expected encoder, head and released sums of "
                f"{spec_of(self)} for {graph.num_nodes} nodes with {graph.num_features} features. Another graph is a "
                "new release: fit the defence again."
            ) from None
        model = model.eval().requires_grad_(False)
        if self.hops:
            gap = float((model.encode(graph.x) - model.served.get_buffer("x0")).abs().max())
            if not gap <= ENCODING_TOLERANCE:
                raise LoadError(
                    f"the released x0 differs from the encoder's rows on {graph.name} by {gap:.3g}; expected at most "
                    f"{ENCODING_TOLERANCE:g}. The sums belong to other features or weights: restore the files, or fit "
                    "the defence again."
                )
            model.serve_on(graph)
        recipe = None if base.recipe is None else DefenseRecipe(self, base, task, needs_trained=False)
        return self._finished(base, defended(base, Fitted(model), self, task, recipe), model)

    def controls(self) -> tuple[str, ...]:
        """The same encoder and head without edges."""
        return (spec_of(replace(self, epsilon=4.0, delta="auto", relation="flip-pair", hops=0)),) if self.hops else ()

    def released_scores(self, target: Target, pairs: Tensor, task: DefenseTask) -> Tensor:
        """See `auditor.mechanism.PrivateDefense`: Σ_k ⟨r_u, x_v⟩ + ⟨r_v, x_u⟩ with x = x_{k-1}, r = z_k - A' x.

        A' are the edges that the adversary knows: all but `pairs`. A pair of its own adds 2 a hop to noise of √2 s, so
        that K hops together separate in from out by μ(ε, δ), as far as the guarantee allows. For `flip-arc` a pair is
        the arc u -> v, and the second term is the score.

        Raises:
            CapabilityError: nothing is released without hops.
        """
        if not self.hops:
            raise CapabilityError("gap:hops=0 releases nothing that was computed from edges; expected hops >= 1.")
        graph, guarantee = target.private_graph, self.planned(target, task)
        with forked_rng(task.seed):
            encoder = fit_encoder(graph, target.split, target.num_classes, self.hidden)
        before, sums = self._release(encoder, graph, guarantee.delta, task)
        arcs = private_arcs(graph, self.relation)
        known = arcs[:, ~torch.from_numpy(contains(np.unique(cells_of(pairs)), cells_of(arcs)))]
        (u, v), scores = pairs, torch.zeros(pairs.shape[1], dtype=torch.float64)
        for z in sums:
            rest, x = z.double() - neighbour_sums(before, known), before.double()
            scores += (rest[v] * x[u]).sum(dim=1)
            if self.relation == "flip-pair":
                scores += (rest[u] * x[v]).sum(dim=1)
            before = unit_rows(z)
        return scores

    def canary_sums(self, target: Target, included: Tensor, task: DefenseTask) -> Tensor:
        """See `auditor.mechanism.PrivateDefense`: no gradient is summed here.

        Raises:
            CapabilityError: always.
        """
        raise CapabilityError(
            'gap releases sums over neighbours and has no noisy gradient sums; access "mechanism" was asked for, '
            f"expected one of {', '.join(self.releases)}."
        )

    @torch.no_grad()
    def _release(
        self, encoder: nn.Module, graph: Graph, delta: float, task: DefenseTask
    ) -> tuple[Tensor, list[Tensor]]:
        """x0 and the K noisy sums, [N, h] each: the one place that reads private edges."""
        s, rng = self._std(delta, task), task.noise_rng(self.id)
        edges = private_arcs(graph, self.relation)
        x0 = unit_rows(encoder(graph.x))
        before, sums = x0, list[Tensor]()
        for _ in range(self.hops):
            noise = s * gaussian(x0.shape, torch.float64, rng)
            sums.append((neighbour_sums(before, edges) + noise).float())
            before = unit_rows(sums[-1])
        return x0, sums

    def _std(self, delta: float, task: DefenseTask) -> float:
        return task.noise_scale * self.noise_std(delta) if self.hops else 0.0

    def _units(self, target: Target) -> int:
        graph = target.private_graph
        keys = graph.pair_keys() if self.relation == "flip-pair" else graph.arc_keys(include_loops=False)
        return int(keys.numel())

    def _guarantee(self, target: Target, task: DefenseTask, epsilon: float, delta: float) -> Guarantee:
        mechanism: dict[str, object] = {"name": "no edges"}
        if self.hops:
            sigma = self.noise_std(delta)
            mechanism = {"name": "GAP", "sensitivity": self.sensitivity, "sigma": sigma, "releases": self.hops}
        return Guarantee(
            level="edge",
            relation=self.relation,
            epsilon=epsilon,
            delta=delta,
            accountant="gaussian-exact" if self.hops else "pure",
            mechanism=mechanism,
            units=max(1, self._units(target)),
            covers=("training", "inference"),
            not_protected=NOT_PROTECTED,
            caveats=(PUBLIC_COUNT, RELEASE_ONCE) if self.hops else (PUBLIC_COUNT,),
            noise_seed=task.noise_seed,
        )

    def _finished(self, base: Target, done: Target, model: GapModel) -> Target:
        """The defended target: its own architecture, embeddings and capabilities, a digest over the release."""
        made = hashlib.sha256(done.digest.encode())
        for name, value in model.state_dict().items():
            made.update(name.encode() + value.contiguous().numpy().tobytes())
        graph, handle = base.private_graph, ModelHandle(model, embedding_layer="embedding")
        sizes = (graph.num_features, self.hidden, self.hops, base.num_classes, graph.num_nodes)
        std = 0.0 if model.noise is None else float(model.noise.std())
        return replace(
            done,
            build=partial(untrained, *sizes, std),
            embedding_layer="embedding",
            capabilities=try_capabilities(
                handle, graph, has_recipe=done.recipe is not None, has_split=base.split.is_known
            ),
            digest=made.hexdigest(),
        )


def fit_encoder(graph: Graph, split: Split, classes: int, hidden: int) -> nn.Module:
    """The encoder [N, F] -> [N, h], trained below a linear classifier on features and labels alone.

    Draws from torch's global generator: call it inside `forked_rng`.
    """
    encoder = make_encoder(graph.num_features, hidden)
    layers = (nn.Dropout(ENCODER_DROPOUT), encoder, nn.Dropout(ENCODER_DROPOUT), nn.Linear(hidden, classes))
    fit(nn.Sequential(*layers), graph.x, graph.y, split, ENCODER)
    return encoder


def private_arcs(graph: Graph, relation: str) -> Tensor:
    """The arcs whose presence is private, each once, loops left out, int64 [2, E]."""
    if relation == "flip-pair":
        return with_cells(graph, edge_cells(graph)).edge_index
    keys = graph.arc_keys(include_loops=False)
    return torch.stack([keys // graph.num_nodes, keys % graph.num_nodes])


def untrained(features: int, hidden: int, hops: int, classes: int, nodes: int, std: float) -> GapModel:
    """The same network with fresh weights and a noise draw of its own: it holds nothing of any graph."""
    model = GapModel(make_encoder(features, hidden), hidden, hops, classes)
    if hops and std:
        model.noise = std * torch.randn(hops, nodes, hidden, dtype=torch.float64)
    return model
