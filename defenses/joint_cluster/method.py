"""Joint-cluster training as a defence: `joint-cluster`, its arms and its modes."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

import torch
from pydantic import Field, model_validator
from torch import Tensor

from auditor.data.graph import Graph, Split
from auditor.defense import DefenseTask
from auditor.errors import ConfigError, LoadError, SkippedError
from auditor.parameters import parameters, spec_of
from auditor.registry import Profile
from auditor.targets.rng import forked_rng
from auditor.targets.target import Capability, Fitted, Target
from defenses.fitting import DefenseRecipe, defended, train_afresh
from defenses.joint_cluster.checks import check_tensors, head_width, number_or_word, partition_notes
from defenses.joint_cluster.edge_filter import THRESHOLDS, check_features, drop_unlike
from defenses.joint_cluster.encoder import encoder_of
from defenses.joint_cluster.heads import LOW_RANK, LOW_RANK_ABOVE
from defenses.joint_cluster.merge import Merged, merge_small
from defenses.joint_cluster.model import MODES, ClusterModel, Mode, Plan, untrained
from defenses.joint_cluster.noise import add_noise
from defenses.joint_cluster.partition import Partition, partition, resolve
from defenses.joint_cluster.training import Clusters, Schedule, fit
from defenses.joint_cluster.trust import trust_rows

ArmName = Literal["joint", "ce", "ce_cluster", "joint_random", "ce_clean", "ce_marginal"]
ARMS: tuple[ArmName, ...] = get_args(ArmName)
PLAIN_ARMS: tuple[ArmName, ...] = ("ce", "ce_clean")
COMPAT_FLOOR = 1e-8


@parameters
class JointCluster:
    """Predicts the pair (class of the node, label mixture of its cluster) and sums the cluster out.

    For owners who can retrain and want robustness to edited edges. No privacy is gained: the table of clusters is made
    from the private edges. The encoder of a GCN is relu(A X W1 + b), dropout and one propagation without a weight;
    upstream feeds the pair into the second layer instead.

    Attributes:
        arm: `joint`; its controls `ce` (no clusters), `ce_cluster` (the cluster as a feature, plain cross-entropy),
            `joint_random` (random clusters), `ce_clean` (filtered graph, no clusters), `ce_marginal` (joint head
            trained by its marginal).
        clusters: K, or `auto`: min(20, max(2, T // 12)), 12 training nodes each.
        partition: `auto` (metis where installed, else bfs), `metis`, `louvain`, `bfs`, `features`, `random` or an .npy.
        tau: temperature in training and prediction, > 0.
        prototypes: at prediction: `frozen` (stored), `live` (recomputed) or `recluster` (the partition as well).
        prototype_nodes: whose mean a prototype is: `train` or `train+val`.
        min_occupancy: least training nodes a cluster; smaller ones are joined to a neighbour.
        assignment: `table` (stored, by position), or `nearest` prototype, which ships no table.
        rank: of the head: `auto` (full up to 32 classes, else 16), `full` or a whole number.
        clean: `jaccard` drops edges between unlike nodes.
        clean_threshold: least similarity of an edge, or `auto`: chosen on validation among 0, .01, .02, .03, .05.
        clean_scope: whether `both` partition and message passing see the filtered graph, or the `partition` alone.
        prototype_noise: std of Gaussian noise on the sums behind stored prototypes, in units of the clipping norm (the
            median length of the embeddings in them); 0 for none. No Guarantee comes with it.
        compat: upstream's choices (train+val prototypes, tau in training only, no merging, log(p + 1e-8)).

    Source: Miao et al., "Rethinking Independent Cross-Entropy Loss For Graph-Structured Data", ICML 2024.
    """

    arm: ArmName = "joint"
    clusters: Annotated[int | Literal["auto"], number_or_word(int, "auto", low=1)] = "auto"
    partition: str = "auto"
    tau: Annotated[float, Field(gt=0)] = 1.0
    prototypes: Mode = "frozen"
    prototype_nodes: Literal["train", "train+val"] = "train"
    min_occupancy: Annotated[int, Field(ge=1)] = 5
    assignment: Literal["table", "nearest"] = "table"
    rank: Annotated[int | Literal["auto", "full"], number_or_word(int, "auto", "full", low=1)] = "auto"
    clean: Literal["none", "jaccard"] = "none"
    clean_threshold: Annotated[float | Literal["auto"], number_or_word(float, "auto", low=0, high=1)] = "auto"
    clean_scope: Literal["partition", "both"] = "both"
    prototype_noise: Annotated[float, Field(ge=0)] = 0.0
    compat: bool = False

    id: ClassVar[str] = "joint-cluster"
    version: ClassVar[str] = "1"
    mode_parameter: ClassVar[str] = "prototypes"

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        resolve(self.partition)
        if self.prototype_noise and self.prototypes != "frozen":
            raise ValueError(
                f"prototype_noise is for stored prototypes; {self.prototypes} ones are made again at every answer. Use "
                "prototypes=frozen"
            )
        return self

    def fit(self, target: Target, task: DefenseTask) -> Target:
        """See `auditor.defense.Defense`; the three modes share one fit, kept in the cache of trained models."""
        self._check_applies(target)
        live = replace(self, prototypes="live", prototype_noise=0.0)
        fitted = train_afresh(live, target, task)
        assert isinstance(fitted.model, ClusterModel)
        notes = {} if fitted.defense is None else fitted.defense.notes
        model, drawn = self._served(fitted.model, target, task)
        done = self._finished(target, model, task, {**notes, **drawn})
        assert done.defense is not None  # _finished tags it
        rows = trust_rows(done, done.defense.notes, min_occupancy=self.min_occupancy)
        return replace(done, defense=replace(done.defense, validity=rows))

    def train(self, base: Target, task: DefenseTask) -> Fitted:
        """See `defenses.fitting.Trains`; partition, mixtures and threshold are made from `base.graph` alone."""
        self._check_applies(base)
        start = time.perf_counter()
        model, notes = self._best_threshold(base, task)
        count = sum(p.numel() for p in model.parameters())
        own = {"parameters": count, "encoder": model.encoder.form, "seconds": time.perf_counter() - start}
        own["encoder_parameters"] = sum(p.numel() for p in model.encoder.parameters())
        served, drawn = self._served(model, base, task)
        return Fitted(served, {**notes, **own, **drawn})

    def wrap(self, base: Target, tensors: Mapping[str, Tensor], task: DefenseTask) -> Target:
        """See `auditor.defense.Defense`."""
        model = self._empty(base, tensors, task)
        try:
            model.load_state_dict(dict(tensors), strict=True)
        except RuntimeError as error:
            raise LoadError(
                f"the saved tensors do not fit {base.name}: {error}. Expected what {spec_of(self)} saved for this "
                "model; fit the defence again."
            ) from None
        check_tensors(model)
        return self._finished(base, model.eval().requires_grad_(False), task, {})

    def controls(self) -> tuple[str, ...]:
        """The same capacity without clusters, with the cluster as a feature, with random clusters; the filter alone."""
        if self.arm != "joint":
            return ()
        arms: tuple[ArmName, ...] = ("ce", "ce_cluster", "joint_random")
        if self.clean != "none":
            arms += ("ce_clean",)
        # An arm without clusters serves in one way: it is one arm, whatever the mode of the defence it belongs to.
        modes: list[Mode] = ["frozen" if arm in PLAIN_ARMS else self.prototypes for arm in arms]
        return tuple(spec_of(replace(self, arm=a, prototypes=mode)) for a, mode in zip(arms, modes, strict=True))

    def modes(self, profile: Profile) -> tuple[str, ...]:
        """See `auditor.defense.ServesInModes`: `recluster`, which no gradient attack can follow, is not for `quick`."""
        if self.prototypes != "frozen" or self.prototype_noise or not self._uses_clusters:
            return ()
        return tuple(spec_of(replace(self, prototypes=mode)) for mode in MODES[1 : 2 if profile == "quick" else 3])

    def _served(self, live: ClusterModel, base: Target, task: DefenseTask) -> tuple[ClusterModel, dict[str, Any]]:
        """What is shipped of a fit in mode `live`, and what the report says about its noise."""
        model, noise = live.in_mode(self.prototypes), self.prototype_noise * task.noise_scale
        if not self.prototype_noise:
            return model, {}
        return model, add_noise(model, live, base.graph, noise, task.noise_rng("prototypes"))

    def _finished(self, base: Target, model: ClusterModel, task: DefenseTask, notes: Mapping[str, Any]) -> Target:
        """The defended target: embeddings are z, and `recluster` alone has no edge gradient."""
        recipe = None if base.recipe is None else DefenseRecipe(self, base, task, needs_trained=False)
        done = defended(base, Fitted(model, notes), self, task, recipe)
        lost = {Capability.GRAD_EDGE} if self.prototypes == "recluster" and self._uses_clusters else set()
        made = hashlib.sha256(done.digest.encode())
        for name, value in model.state_dict().items():  # which partition `auto` stood for is in the table
            made.update(name.encode() + value.contiguous().numpy().tobytes())
        build = None
        if base.build is not None:
            build = partial(untrained, base.build, base.embedding_layer, model.width, model.nodes, model.plan)
        return replace(
            done,
            build=build,
            embedding_layer="embedding",
            capabilities=base.capabilities - lost,
            digest=made.hexdigest(),
        )

    @property
    def _uses_clusters(self) -> bool:
        return self.arm not in PLAIN_ARMS

    def _check_applies(self, base: Target) -> None:
        """Raises SkippedError or ConfigError where this target or split cannot have clusters."""
        if base.task.level != "node":
            raise SkippedError("joint-cluster classifies nodes of one graph; this target classifies graphs.")
        if base.recipe is None or base.build is None:
            raise SkippedError(
                f"joint-cluster trains from scratch and {base.name} has no RETRAIN; expected a [target.train] table "
                "and a way to build the model."
            )
        train = base.graph.y[base.split.train]
        missing = sorted(set(range(base.num_classes)) - set(train.tolist()))
        if missing:
            raise SkippedError(f"joint-cluster needs every class among the training nodes; {missing} are absent.")
        if self._uses_clusters and len(train) < self.min_occupancy:
            raise ConfigError(
                f"{len(train)} training nodes: no cluster can hold {self.min_occupancy}. Lower min_occupancy, or give "
                "more labels."
            )
        if self.clean != "none" or self.arm == "ce_clean":
            check_features(base.graph.x)
        self._k(base.graph, base.split)

    def _k(self, graph: Graph, split: Split) -> int:
        """K, checked against N."""
        if self.clusters == "auto":
            return min(20, max(2, split.sizes[0] // 12), graph.num_nodes)
        if self.clusters > graph.num_nodes:
            raise ConfigError(f"joint-cluster: clusters = {self.clusters}; expected at most N = {graph.num_nodes}.")
        return self.clusters

    def _best_threshold(self, base: Target, task: DefenseTask) -> tuple[ClusterModel, dict[str, Any]]:
        """One fit, or with `clean` and no threshold given the one with the best validation accuracy, least first."""
        if not (self.arm == "ce_clean" or (self.clean != "none" and self.arm != "ce")):
            return self._fit_one(base, task, 0.0)[:2]
        if self.clean_threshold != "auto":
            return self._fit_one(base, task, self.clean_threshold)[:2]
        if not base.split.val.any():
            return self._fit_one(base, task, THRESHOLDS[3])[:2]
        fits = [self._fit_one(base, task, threshold) for threshold in THRESHOLDS]
        best = max(range(len(fits)), key=lambda i: (fits[i][2], -i))
        return fits[best][:2]

    def _fit_one(self, base: Target, task: DefenseTask, threshold: float) -> tuple[ClusterModel, dict[str, Any], float]:
        assert base.build is not None and base.recipe is not None  # noqa: PT018 - _check_applies looked
        graph, split = base.graph, base.split
        notes: dict[str, Any] = {"arm": self.arm}
        clusters = None
        if self._uses_clusters:
            seen = drop_unlike(graph.x, graph.edge_index, None, threshold)[0]
            found, merged = self._partitioned(graph, split, seen, task.seed)
            clusters = self._clusters(base, merged)
            notes |= partition_notes(found, merged, graph, torch.nonzero(split.train).flatten())
        if threshold or self.clean != "none" or self.arm == "ce_clean":
            notes["clean_threshold"] = threshold
        passing = threshold if self.clean_scope == "both" or self.arm == "ce_clean" else 0.0
        model, accuracy = fit(
            base.build,
            graph,
            split,
            self._plan(base, task, passing),
            Schedule.of(base.recipe.describe()),
            clusters,
            seed=task.seed,
            layer=base.embedding_layer,
            by_marginal=self.arm == "ce_marginal",
            train_tau=self.tau,
            tick=task.tick,
        )
        return model, notes, accuracy

    def _partitioned(self, graph: Graph, split: Split, edges: Tensor, seed: int) -> tuple[Partition, Merged]:
        name = "random" if self.arm == "joint_random" else self.partition
        found = partition(name, edges, graph.num_nodes, self._k(graph, split), seed=seed, x=graph.x)
        if self.compat:
            used, assign = torch.unique(found.assign, return_inverse=True)
            return found, Merged(assign, used.shape[0], 0, 0)
        return found, merge_small(found.assign, torch.nonzero(split.train).flatten(), edges, self.min_occupancy)

    def _clusters(self, base: Target, merged: Merged) -> Clusters:
        split = base.split
        with_val = self.compat or self.prototype_nodes == "train+val"
        nodes = torch.nonzero(split.train | split.val if with_val else split.train).flatten()
        return Clusters.of(merged, base.graph, torch.nonzero(split.train).flatten(), nodes, base.num_classes)

    def _plan(self, base: Target, task: DefenseTask, threshold: float) -> Plan:
        kinds = {"ce": "plain", "ce_clean": "plain", "ce_cluster": "cluster"}
        rank = self.rank if isinstance(self.rank, int) else None
        if self.rank == "auto" and base.num_classes > LOW_RANK_ABOVE:
            rank = LOW_RANK
        name = "random" if self.arm == "joint_random" else self.partition
        return Plan(
            kind=kinds.get(self.arm, "joint"),
            classes=base.num_classes,
            tau=1.0 if self.compat else self.tau,
            rank=rank,
            nearest=self.assignment == "nearest",
            mode="live",
            threshold=threshold,
            floor=COMPAT_FLOOR if self.compat else 0.0,
            partition=(name, self._k(base.graph, base.split), task.seed, 1 if self.compat else self.min_occupancy),
        )

    def _empty(self, base: Target, tensors: Mapping[str, Tensor], task: DefenseTask) -> ClusterModel:
        """An untrained model with buffers of the saved shapes."""
        if base.build is None:
            raise LoadError(f"{base.name} cannot be built afresh, which {self.id} needs to take its encoder from.")
        own = {name: value for name, value in tensors.items() if not name.startswith(("encoder.", "head."))}
        allowed = set()
        if self._uses_clusters:
            allowed = {"prototypes", "fallback"} | (set() if self.assignment == "nearest" else {"table"})
            allowed |= set() if self.prototypes == "frozen" else {"members", "member_cluster"}
        threshold = 0.0
        if "clean_threshold" in own:
            threshold = float(own.pop("clean_threshold"))
        if set(own) != allowed:
            raise LoadError(
                f"the file holds {', '.join(sorted(own)) or 'no cluster tensors'}; expected "
                f"{', '.join(sorted(allowed)) or 'none'} for {spec_of(self)}. Fit the defence again."
            )
        width = next((v.shape[1] for n, v in own.items() if n == "prototypes" and v.dim() == 2), None)
        with forked_rng(task.seed):
            encoder = encoder_of(base.build(), layer=base.embedding_layer)
            if width is None:
                width = head_width(tensors)
            plan = replace(self._plan(base, task, threshold), mode=self.prototypes)
            model = ClusterModel(encoder, int(width), base.graph.num_nodes, plan)
        for name, value in own.items():
            setattr(model, name, torch.zeros_like(value))
        return model
