"""Target: a trained model, the graph it belongs to, and what it can do."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from auditor.data.fields import NO_FIELDS, Fields
from auditor.data.graph import Graph, Split
from auditor.document import Measured, ValidityRow
from auditor.errors import CapabilityError, LoadError, SplitError
from auditor.guarantee import Guarantee
from auditor.printable import error_text
from auditor.registry import LACKING
from auditor.registry import Capability as Capability
from auditor.targets.call import Call
from auditor.targets.copying import copied
from auditor.targets.device import CPU, moved
from auditor.targets.forward import ForwardAdapter, drop_caches
from auditor.targets.tag import DefenseTag
from auditor.tasks import Task


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """What a fit answers.

    Attributes:
        model: in eval mode, frozen.
        notes: plain values for the report.
        released: the graph that the model runs on, where a mechanism released one in the private graph's place.
        guarantee: what the fit promises formally.
        validity: what was checked while fitting.
        measured: what the fit measured and a comparison judges.
    """

    model: nn.Module
    notes: Mapping[str, Any] = field(default_factory=dict)
    released: Graph | None = None
    guarantee: Guarantee | None = None
    validity: tuple[ValidityRow, ...] = ()
    measured: tuple[Measured, ...] = ()


class Recipe(Protocol):
    """How the target was trained: what every twin is trained with."""

    def fit(self, graph: Graph, split: Split, seed: int) -> Fitted:
        """A freshly built model trained on `graph`."""
        ...

    def describe(self) -> Mapping[str, Any]:
        """The `[target.train]` table, for digests and reports."""
        ...


@runtime_checkable
class FitsMany(Protocol):
    """What a recipe may offer beyond `Recipe`: it trains several models together, faster than one by one."""

    def fit_many(self, graph: Graph, splits: Sequence[Split], seeds: Sequence[int]) -> list[Fitted]:
        """A model for each split, trained on `graph` as `fit` would."""
        ...


@runtime_checkable
class Rebuilds(Recipe, Protocol):
    """A recipe whose models can be kept as tensors and made again from them, without training."""

    def depends_on(self, seed: int) -> str:
        """Digest of all that `fit` depends on beside graph, split and libraries: recipe, seed, untrained model.

        Raises:
            StateError: a part of the untrained model cannot be told.
        """
        ...

    def rebuilt(self, graph: Graph, split: Split, seed: int, tensors: Mapping[str, Tensor]) -> Fitted:
        """The model of a fit with these inputs from its state dict, and what it released from `served.edge_index`.

        Raises:
            LoadError, RuntimeError: the tensors do not fit.
        """
        ...


@runtime_checkable
class ServedModel(Protocol):
    """What a model may offer beyond `nn.Module`: it keeps something of the graph that it is served on."""

    def with_nodes(self, ids: Tensor) -> nn.Module:
        """The same model for a graph whose node i is node ids[i] of its own (-1: none of them), ids int64 [N']."""
        ...

    def for_adversary(self) -> nn.Module:
        """The same model without what only an evaluation may hold (the noise behind a release)."""
        ...


@runtime_checkable
class Coarsens(Protocol):
    """A part of a model through which its answers go out and become coarser: [n, C] in and out, classes unchanged.

    It hides nothing from whoever holds the file, who takes it out, and its gradient is 0 where it has one at all. So
    attacks on the weights, and checks of what is computed, are given the model beneath (`Target.beneath`), while what
    is served, and what an attack on it achieves, is read off the answers as they go out.
    """

    @property
    def served_digits(self) -> int | None:
        """Decimals that posteriors are rounded to; None where they are not."""
        ...

    def __call__(self, logits: Tensor) -> Tensor:
        """Answers as they go out, a row for each row."""
        ...


@runtime_checkable
class AnswersFromRelease(Protocol):
    """A model that answers queries from what a mechanism released once: none of them reads an edge."""

    def from_release(self, x: Tensor) -> Tensor:
        """Logits [N, C] where the features become x [N, F]."""
        ...


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Target:
    """A trained model with its graph, split and capabilities. Immutable; `logits` is the whole contract.

    Attributes:
        name: what the report calls it.
        graph: what the model runs on: the private graph (task `node`) or graphs (task `graph`), unless a mechanism
            released another one in its place.
        split: which items it was trained, selected and tested on.
        num_classes: C.
        capabilities: confirmed by trial.
        kind: how it was given (`factory`, `safetensors`, `state_dict`).
        digest: sha256 over file bytes, model table or factory, and revision.
        provenance: file names, hashes, versions; plain values only.
        model: in eval mode, every parameter frozen. Attacks get a ModelHandle, never this.
        build: makes a fresh untrained model; None when the target cannot be rebuilt.
        recipe: trains one; None without `[target.train]`.
        transform: the feature transform the data went through ("row-normalize" or "none").
        claimed_accuracy: what target.toml says, checked by a validity row.
        embedding_layer: module name whose input is the embedding; None for the last message-passing layer.
        defense: what defended it; None for a target as it was given.
        base: the undefended target, where this one is defended; None for a target as it was given.
        verified: whether reference answers or a claimed accuracy show that it is the model that was trained.
        private: the private graph where `graph` is a released one; None when `graph` is it.
        molecules: whether its graphs are molecules, which an edit of nodes or edges makes others; None where nobody
            says.
        elsewhere: reads another data set as this one's was read (root, transform, what stands in for features); None
            for a target that was given alive.
        device: where its handles live, `cpu` or `cuda:i`; `model`, graph and split stay on the CPU.
        fixed_nodes: tensors of the model that have a row per node (`emb.weight [400, 16]`): it knows these nodes only.
    """

    name: str
    graph: Graph
    split: Split
    num_classes: int
    capabilities: frozenset[Capability]
    kind: str
    digest: str
    provenance: Mapping[str, Any]
    model: nn.Module
    build: Callable[[], nn.Module] | None = None
    recipe: Recipe | None = None
    transform: str = "none"
    claimed_accuracy: float | None = None
    embedding_layer: str | None = None
    defense: DefenseTag | None = None
    base: Target | None = None
    private: Graph | None = None
    verified: bool = True
    fixed_nodes: tuple[str, ...] = ()
    molecules: bool | None = None
    elsewhere: Callable[[str], Graph] | None = None
    device: str = CPU

    def __post_init__(self) -> None:
        self.split.check_fits(self.graph)
        self.model.eval().requires_grad_(False)

    @property
    def task(self) -> Task:
        """What it predicts."""
        return self.graph.task

    @property
    def private_graph(self) -> Graph:
        """The graph that privacy is measured against, and that a refit starts from."""
        return self.graph if self.private is None else self.private

    def need_split(self) -> None:
        """Raises SplitError where nobody named the items that it was trained on."""
        if not self.split.is_known:
            raise SplitError(
                f"{self.name} is compared on items that it was not trained on; this needs {LACKING['SPLIT']}."
            )

    def on(self, device: str) -> Target:
        """The same target, its handles on `device` (`cpu`, `cuda:i`).

        Raises:
            LoadError: the model does not run there.
        """
        if device == self.device:
            return self
        base = None if self.base is None else self.base.on(device)
        there = replace(self, device=device, base=base)
        try:
            there.clean_logits()
        except Exception as error:  # whatever a forward raises that ran on the CPU
            raise LoadError(
                f"{self.name} runs on the CPU and not on {device} ({error_text(error)}); expected every tensor of the "
                "model to move with it. Keep tensors as parameters or buffers (register_buffer), make new ones on the "
                "device of the input, or give --device cpu."
            ) from None
        return there

    def handle(self) -> ModelHandle:
        """A private copy of the model, caches dropped, that holds no graph."""
        return self._handle(self.model)

    def _handle(self, model: nn.Module) -> ModelHandle:
        return ModelHandle(model, embedding_layer=self.embedding_layer, device=self.device)

    def beneath(self) -> Target:
        """This target with its answers as they are computed, what makes them coarser taken out; itself for most."""
        if not self.is_coarse:
            return self
        model = copied(self.model)
        for name in self.coarsening:
            model.set_submodule(name, nn.Identity())
        return replace(self, model=model)

    @property
    def is_coarse(self) -> bool:
        """Whether something makes its answers coarser than what the model computes."""
        return bool(self.coarsening)

    @property
    def served_digits(self) -> int | None:
        """Decimals that the posteriors it answers are rounded to; None for exact ones."""
        digits = (part.served_digits for part in self.coarsening.values())
        return min((each for each in digits if each is not None), default=None)

    @property
    def coarsening(self) -> dict[str, Coarsens]:
        """What makes its answers coarser, by the name of the module; in the order that answers go through."""
        return {name: part for name, part in self.model.named_modules() if isinstance(part, Coarsens)}

    def adversary_handle(self) -> ModelHandle:
        """What whoever holds the file has: the model `beneath`, for attacks on it and for the reference in the file.

        Without what only an evaluation may hold (the noise behind a release).
        """
        model = self.beneath().model
        return self._handle(model.for_adversary() if isinstance(model, ServedModel) else model)

    def with_nodes(self, ids: Tensor) -> ModelHandle:
        """The model for a graph whose node i is this graph's node ids[i] (-1: none of them), ids int64 [N'].

        A model that keeps something per node (a table of clusters) re-indexes it; for any other it is `handle()`.
        """
        return self._handle(self.model.with_nodes(ids) if isinstance(self.model, ServedModel) else self.model)

    def logits(
        self,
        x: Tensor,
        edge_index: Tensor,
        edge_weight: Tensor | None = None,
        batch: Tensor | None = None,
        fields: Fields = NO_FIELDS,
    ) -> Tensor:
        """Logits of any graph: x [N, F], edge_index [2, E], edge_weight [E], batch [N] -> [N, C] or [B, C].

        `fields` are what else the model reads, with one row per node, edge or graph.

        Eval mode, caches dropped, gradients flow to any input that asks for them.

        Raises:
            CapabilityError: an edge weight is given and the model takes none.
        """
        return self.handle().logits(x, edge_index, edge_weight, batch, fields)

    def clean_logits(self) -> Tensor:
        """Logits on the target's own graph, [N, C] or [B, C], no gradient; computed once."""
        known = _CLEAN.get(self)
        if known is None:
            g = self.graph
            with torch.no_grad():
                known = _CLEAN[self] = self.logits(g.x, g.edge_index, g.edge_weight, g.batch, g.fields)
        return known.clone()

    def clean_embeddings(self) -> Tensor:
        """Input of the last message-passing layer on the target's own graph, [N, d], no gradient."""
        g = self.graph
        with torch.no_grad():
            return self.handle().embeddings(g.x, g.edge_index, g.edge_weight, g.batch, g.fields)

    def accuracy(self, mask: Tensor | None = None) -> float:
        """Share of correct items under `mask` (default: test); a non-finite row counts as wrong."""
        mask = self.split.test if mask is None else mask
        return float(self.task.quality(self.clean_logits(), self.graph.y)[mask].mean())

    def retrained(self, graph: Graph | None = None, split: Split | None = None, *, seed: int) -> Target:
        """A twin trained by the target's own recipe on `graph` and `split` (default: its own private graph).

        A defended target's twin is defended alike: the whole mechanism runs again, on `graph`.

        Raises:
            CapabilityError: the target has no recipe.
        """
        graph, split = graph or self.private_graph, split or self.split
        return self.fitted(self._needed_recipe().fit(graph, split, seed), graph, split, seed)

    def retrained_many(self, splits: Sequence[Split], seeds: Sequence[int]) -> list[Target]:
        """A twin for each split, on the target's own private graph; trained together where the recipe can.

        Raises:
            CapabilityError: the target has no recipe.
        """
        recipe, graph = self._needed_recipe(), self.private_graph
        if isinstance(recipe, FitsMany):
            fits = recipe.fit_many(graph, splits, seeds)
        else:
            fits = [recipe.fit(graph, split, seed) for split, seed in zip(splits, seeds, strict=True)]
        return [self.fitted(fit, graph, split, seed) for fit, split, seed in zip(fits, splits, seeds, strict=True)]

    def _needed_recipe(self) -> Recipe:
        if self.recipe is None:
            raise CapabilityError(
                f"{self.name} cannot be retrained: it has no [target.train] table or no way to build a fresh model. "
                "Add the recipe to target.toml."
            )
        return self.recipe

    def fitted(self, fit: Fitted, graph: Graph, split: Split, seed: int) -> Target:
        """This target with the model of `fit`, made from `graph` and `split` under `seed`."""
        tag = self.defense
        if tag is not None:
            tag = replace(
                tag,
                seed=seed,
                notes=dict(fit.notes),
                guarantee=fit.guarantee,
                validity=fit.validity,
                measured=fit.measured,
            )
        released = fit.released
        return replace(
            self,
            graph=graph if released is None else released,
            private=None if released is None else graph,
            split=split,
            model=fit.model,
            defense=tag,
        )


_CLEAN: WeakKeyDictionary[Target, Tensor] = WeakKeyDictionary()
"""Logits of each target on its own graph: a target is immutable, so that they are computed once while it lives."""


class ModelHandle:
    """The model alone: a function of graphs that the caller makes. Holds no graph and no cache.

    It computes on `device`: what it is given is moved there, and answers come back to where the features are.
    """

    def __init__(
        self, model: nn.Module, *, embedding_layer: str | None = None, call: Call | None = None, device: str = CPU
    ) -> None:
        self.device = torch.device(device)
        self._model = copied(model).to(self.device).eval().requires_grad_(False)
        if call is not None:
            call.bound(self._model)
        self.dropped_caches = drop_caches(self._model)
        self._forward = ForwardAdapter(self._model, embedding_layer=embedding_layer)
        self.calls = 0

    @property
    def model(self) -> nn.Module:
        """The private copy, for white-box attacks (access `weights`)."""
        return self._model

    @property
    def on_cpu(self) -> nn.Module:
        """The same model on the CPU, for what reads its tensors beside those of a graph; itself where it is there."""
        return self._model if self.device.type == CPU else copied(self._model).cpu()

    @property
    def takes_edge_weight(self) -> bool:
        """Whether forward has an edge weight argument."""
        return self._forward.takes_edge_weight

    def logits(
        self,
        x: Tensor,
        edge_index: Tensor,
        edge_weight: Tensor | None = None,
        batch: Tensor | None = None,
        fields: Fields = NO_FIELDS,
    ) -> Tensor:
        """Same contract as `Target.logits`."""
        self.calls += 1
        return self._forward.logits(*self.moved(x, edge_index, edge_weight, batch, fields)).to(x.device)

    def embeddings(
        self,
        x: Tensor,
        edge_index: Tensor,
        edge_weight: Tensor | None = None,
        batch: Tensor | None = None,
        fields: Fields = NO_FIELDS,
    ) -> Tensor:
        """Input of the last message-passing layer, [N, d]; gradients flow.

        Raises:
            CapabilityError: no message-passing layer was found.
        """
        self.calls += 1
        return self._forward.embeddings(*self.moved(x, edge_index, edge_weight, batch, fields)).to(x.device)

    def moved(
        self, x: Tensor, edge_index: Tensor, edge_weight: Tensor | None, batch: Tensor | None, fields: Fields
    ) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None, Fields]:
        """The inputs of a call on the device; those that are there already as they are."""
        if self.device.type == CPU == x.device.type:
            return x, edge_index, edge_weight, batch, fields
        place = functools.partial(moved, device=self.device)
        weight, of = (None if each is None else place(each) for each in (edge_weight, batch))
        return place(x), place(edge_index), weight, of, fields.each(place)
