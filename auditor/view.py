"""Access and View: what an adversary is assumed to hold, and nothing else.

A View is the only thing an attack gets. A privacy View holds no private edge: its handles hold the model alone, or, of
queries, nothing but a name for what the harness runs; and the evaluation pairs (half of which are edges) are never in
it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from auditor.data.graph import Graph
from auditor.errors import AccessError
from auditor.registry import Access as Access
from auditor.side_knowledge import SideKnowledge as SideKnowledge
from auditor.targets.edit_queries import EditQueries, open_edit_queries
from auditor.targets.explanations import explanations
from auditor.targets.memo import LinearMemo
from auditor.targets.own_queries import OwnQueries
from auditor.targets.queries import Queries, open_queries
from auditor.targets.relaxation import Relaxation, synthetic_graph
from auditor.targets.target import ModelHandle, Target
from auditor.tasks import Task, log_probabilities

T = TypeVar("T")
REFERENCE_PAIRS = 100_000
EXACT = SideKnowledge()
"""What is assumed where nobody says otherwise: answers as they are computed."""
TRIED = 8
"""Nodes that are asked about one by one, to see whether others change an answer."""


class Later:
    """A part of a view that is made when it is first read: many attacks hold weights, and few of them relax edges."""

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make

    @cached_property
    def made(self) -> Any:
        """The same one each time."""
        return self._make()


@dataclass(frozen=True, slots=True, eq=False)
class References:
    """What an adversary knows who trained models of the same recipe on other items of the same data.

    Attributes:
        candidates: items that may be members, bool [items].
        trained_on: whether each model was trained on an item, bool [K, items].
        margins: how sure each model's answers are of the true classes, by query, float64 [K, items].
    """

    candidates: Tensor
    trained_on: Tensor
    margins: Mapping[str, Tensor]


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """What one attack may see. Reading a field whose access was not granted raises AccessError.

    `num_nodes`, `num_classes` and `task` are public. Everything else is a property that names its access.
    """

    access: frozenset[Access]
    num_nodes: int
    num_classes: int
    task: Task
    _held: Mapping[str, Any] = field(repr=False)

    def _take(self, name: str, access: Access, kind: type[T]) -> T:
        if access not in self.access:
            raise AccessError(
                f'this attack read {name}, which needs the access "{access}"; it was granted '
                f"{', '.join(sorted(self.access)) or 'nothing'}. Declare it in the attack's `access`."
            )
        value = self._held.get(name)
        value = value.made if isinstance(value, Later) else value
        if not isinstance(value, kind):
            raise AccessError(
                f"{name} is not part of a view of this family; granted: {', '.join(sorted(self.access))}."
            )
        return value

    @property
    def x(self) -> Tensor:
        """Features, float32 [N, F] (access `features`)."""
        return self._take("x", Access.FEATURES, Tensor)

    @property
    def y(self) -> Tensor:
        """Labels, int64 [N] or [B], -1 where `known` is False (access `labels`)."""
        return self._take("y", Access.LABELS, Tensor)

    @property
    def known(self) -> Tensor:
        """Which labels are known, bool, shape of `y` (access `labels`)."""
        return self._take("known", Access.LABELS, Tensor)

    @property
    def density(self) -> float:
        """Mean degree the adversary assumes (access `density`)."""
        return self._take("density", Access.DENSITY, float)

    @property
    def posteriors(self) -> Tensor:
        """What the service answers on the private graph, [N, C] (access `posteriors`); `outputs` says which kind."""
        return self._take("posteriors", Access.POSTERIORS, Tensor)

    @property
    def outputs(self) -> str:
        """`probs` or `logits`: the kind of `posteriors`."""
        return self._take("outputs", Access.POSTERIORS, str)

    @property
    def served_digits(self) -> int | None:
        """Decimals that `posteriors` were rounded to, None for exact."""
        if Access.POSTERIORS not in self.access:
            raise AccessError('served_digits needs the access "posteriors".')
        digits = self._held.get("served_digits")
        return None if digits is None else int(digits)

    @property
    def is_coarse(self) -> bool:
        """Whether `posteriors` are coarser than what the model computes: rounded, cut or down to the class."""
        return self._take("is_coarse", Access.POSTERIORS, bool)

    @property
    def alone(self) -> Tensor | None:
        """What the service answers about each node in a graph without edges, [N, C] (access `own-queries`).

        None where own graphs may not be asked about, where an item is a graph, and for a model that cannot be asked so.
        """
        if Access.OWN_QUERIES not in self.access:
            raise AccessError('this attack read alone, which needs the access "own-queries".')
        return self._held.get("alone")

    @property
    def own_queries(self) -> OwnQueries:
        """The model on a graph of the adversary's own (access `own-queries`)."""
        return self._take("own_queries", Access.OWN_QUERIES, OwnQueries)

    def with_own_queries(self, queries: OwnQueries) -> View:
        """The same view with other answers, or fewer of them (access `own-queries`)."""
        return replace(self, _held={**self._held, "own_queries": queries})

    @property
    def edit_queries(self) -> EditQueries:
        """What is answered about the graph with edges toggled (access `own-queries`: robustness family); counted."""
        return self._take("edit_queries", Access.OWN_QUERIES, EditQueries)

    def with_edit_queries(self, queries: EditQueries) -> View:
        """The same view with more of them, or fewer (access `own-queries`)."""
        return replace(self, _held={**self._held, "edit_queries": queries})

    @property
    def references(self) -> References:
        """Models of the same recipe (access `references`)."""
        return self._take("references", Access.REFERENCES, References)

    @property
    def embeddings(self) -> Tensor:
        """What the service's embedding layer gives on the private graph, [N, d] (access `embeddings`)."""
        return self._take("embeddings", Access.EMBEDDINGS, Tensor)

    @property
    def explanations(self) -> Tensor:
        """What is published to explain the answers on the private graph, [N, F] (access `explanations`)."""
        return self._take("explanations", Access.EXPLANATIONS, Tensor)

    @property
    def query(self) -> Queries:
        """Asks what changes on the served graph with one node's features: `query(v, row) -> (ids, rows)`; counted."""
        return self._take("query", Access.QUERIES, Queries)

    @property
    def model(self) -> ModelHandle:
        """The model on graphs that the adversary makes (access `weights`); holds no graph."""
        return self._take("model", Access.WEIGHTS, ModelHandle)

    @property
    def relaxation(self) -> Relaxation:
        """The model with a differentiable weight on each edge of graphs the adversary makes (access `weights`)."""
        return self._take("relaxation", Access.WEIGHTS, Relaxation)

    @property
    def attacked(self) -> Tensor | None:
        """Node ids the adversary concentrates on (GraphMI's paper protocol), or None for all nodes."""
        return self._held.get("attacked")

    @property
    def reference_pairs(self) -> Tensor:
        """R: pairs drawn uniformly without the truth, int64 [2, R]; shared by attacks and controls."""
        value = self._held.get("reference_pairs")
        if value is None:
            raise AccessError("reference_pairs belong to privacy views only.")
        return value  # type: ignore[no-any-return]

    @property
    def graph(self) -> Graph:
        """The graph to be edited or moved, labels left out (access `graph`: robustness and shift families)."""
        return self._take("graph", Access.GRAPH, Graph)

    @property
    def train_mask(self) -> Tensor:
        """Training items, bool (access `graph`)."""
        return self._take("train_mask", Access.GRAPH, Tensor)

    @property
    def val_mask(self) -> Tensor:
        """Validation items, bool (access `graph`)."""
        return self._take("val_mask", Access.GRAPH, Tensor)

    def with_items(self, items: Tensor) -> View:
        """The same view about fewer items, int64 [n] (access `graph`)."""
        return replace(self, _held={**self._held, "items": items})

    @property
    def items(self) -> Tensor:
        """Ids of the items the result is about: attacked targets, or ID items, int64 (access `graph`)."""
        return self._take("items", Access.GRAPH, Tensor)


def grant_privacy(
    target: Target,
    access: frozenset[Access],
    side: SideKnowledge,
    rng: np.random.Generator,
    *,
    attacked: Tensor | None = None,
    references: References | None = None,
    with_own_graph: bool = False,
) -> View:
    """A privacy View: no field equals or encodes the private edges.

    References are made by the harness that grants them. Own queries (access `own-queries`) are about nodes alone; of
    whoever holds the features of all nodes, about graphs on them that they make up; or, `with_own_graph`, about a graph
    of nodes that the model was not trained on.

    Raises:
        AccessError: `graph` was asked for; privacy attacks are never granted it.
        SkippedError: there are no explanations of this model.
        DataError: the file that explanations come from is not theirs.
    """
    if Access.GRAPH in access:
        raise AccessError(
            'a privacy attack asked for "graph": the private edges are the secret it is measured against.'
        )
    graph, held = target.graph, dict[str, Any]()
    held["reference_pairs"] = uniform_pairs(graph.num_nodes, REFERENCE_PAIRS, rng)
    held["attacked"] = attacked
    if Access.FEATURES in access:
        held["x"] = graph.x.clone()
    if Access.LABELS in access:
        known = {
            "all": graph.labelled,
            "train": target.split.train.clone(),
            "none": torch.zeros(graph.num_items, dtype=torch.bool),
        }[side.labels]
        held["known"], held["y"] = known, torch.where(known, graph.y, -1)
    if Access.DENSITY in access:
        held["density"] = 4.0 if side.density is None else float(side.density)
    if Access.POSTERIORS in access:
        held |= _served(target, side)
    if Access.QUERIES in access:
        held["query"] = open_queries(target, outputs=side.outputs, digits=side.served_digits)
    if Access.OWN_QUERIES in access and side.asks_own:
        if with_own_graph:
            held["own_queries"] = own_queries(target, side, rng)
        elif Access.FEATURES in access:
            held["own_queries"] = made_up_queries(target, side)
        else:
            held["alone"] = serve_alone(target, side) if side.features else None
    if Access.REFERENCES in access:
        held["references"] = references
    if Access.EMBEDDINGS in access:
        held["embeddings"] = target.clean_embeddings()
    if Access.EXPLANATIONS in access:
        held["explanations"] = explanations(target, side)
    if Access.WEIGHTS in access:
        held["model"] = target.adversary_handle()
        trial = _trial_graph(target, with_features=Access.FEATURES in access)
        held["relaxation"] = Relaxation.choose(
            target.adversary_handle(), num_features=graph.num_features, level=target.task.level, graph=trial
        )
    return View(access, graph.num_nodes, target.num_classes, target.task, held)


def _trial_graph(target: Target, *, with_features: bool) -> Graph | None:
    """The synthetic graph of a relaxation, its edges random and drawn without the truth.

    It has rows of the real features where they are known: a model may be dead on any other input. None for the usual
    one, where there are no such rows or too few nodes. A model with a row per node gets all nodes.
    """
    x, fixed = target.graph.x, bool(target.fixed_nodes)
    if not (with_features or fixed):
        return None
    made = synthetic_graph(int(x.shape[1]), target.task.level, nodes=int(x.shape[0]) if fixed else None)
    if not with_features:
        return made
    if x.shape[0] < made.num_nodes:
        return None
    rows = torch.linspace(0, x.shape[0] - 1, made.num_nodes).long()
    return replace(made, x=x.clone() if fixed else x[rows].clone())


def grant_graph(
    target: Target, access: frozenset[Access], *, with_test_labels: bool, side: SideKnowledge = EXACT
) -> View:
    """A View of the robustness (`with_test_labels`) or shift family: the graph is known, it is what is edited.

    Shift views hold labels of training and validation items only; the graph they carry has its labels blanked. Answers,
    to queries too, are those of the service: rounded as `side` says. Whoever holds the weights reads what they compute.
    """
    graph, split = target.graph, target.split
    blank = replace(
        graph,
        x=graph.x.clone(),
        edge_index=graph.edge_index.clone(),
        y=torch.zeros_like(graph.y),
        edge_weight=None if graph.edge_weight is None else graph.edge_weight.clone(),
        batch=None if graph.batch is None else graph.batch.clone(),
    )
    held: dict[str, Any] = {
        "graph": blank,
        "train_mask": split.train.clone(),
        "val_mask": split.val.clone(),
        "items": torch.nonzero(split.test).flatten(),
    }
    if Access.FEATURES in access:
        held["x"] = graph.x.clone()
    if Access.LABELS in access:
        known = graph.labelled if with_test_labels else split.train | split.val
        held["known"], held["y"] = known.clone(), torch.where(known, graph.y, -1)
    if Access.POSTERIORS in access:
        held |= _served(target, replace(side, outputs="probs"))
    if Access.OWN_QUERIES in access and with_test_labels:
        held["edit_queries"] = open_edit_queries(target, digits=side.served_digits)
    if Access.WEIGHTS in access:
        inner = target.beneath()
        held["model"] = inner.handle()
        held["relaxation"] = Later(lambda: _relaxed(target, inner, blank))
    return View(access, graph.num_nodes, target.num_classes, target.task, held)


_RELAXED: WeakKeyDictionary[Target, Relaxation] = WeakKeyDictionary()
"""How edges of each target's own graph are given a weight: tried once while it lives, since many views are of one."""


def _relaxed(target: Target, inner: Target, graph: Graph) -> Relaxation:
    """A relaxation of the model of `inner`, chosen on the target's own graph; each view has a copy of its own."""
    if target not in _RELAXED:
        handle, level = inner.handle(), target.task.level
        chosen = Relaxation.choose(handle, num_features=graph.num_features, level=level, graph=graph)
        _RELAXED[target] = chosen.of(inner.handle())
    return _RELAXED[target].of(inner.handle())


def _served(target: Target, side: SideKnowledge) -> dict[str, Any]:
    """What a view holds of the answers on the graph itself."""
    digits = [each for each in (side.served_digits, target.served_digits) if each is not None]
    return {
        "posteriors": serve(target, side),
        "outputs": side.outputs,
        "served_digits": min(digits, default=None),
        "is_coarse": bool(digits) or target.is_coarse,
    }


def serve(target: Target, side: SideKnowledge) -> Tensor:
    """What the service answers on the private graph, float64 [N, C]: probabilities or logits, rounded if it rounds."""
    return _as_served(target.clean_logits(), side)


def serve_alone(target: Target, side: SideKnowledge) -> Tensor | None:
    """What the service answers about each node of a graph without edges, as `serve`; None for many graphs.

    All nodes are in one such graph, or each in a graph of its own where the model lets them see each other. None as
    well for a model that has no answer without edges.
    """
    graph = target.graph
    if graph.batch is not None:
        return None

    def answers(model: ModelHandle, asked: Graph) -> Tensor:
        return model.logits(asked.x, asked.edge_index, asked.edge_weight, asked.batch, asked.fields)

    def by_itself(node: Tensor) -> Tensor:
        return answers(target.with_nodes(node), bare.taking(node, node))

    try:
        bare = graph.keeping(torch.empty(0, dtype=torch.int64))
        with torch.no_grad():
            together = answers(target.handle(), bare)
            if not target.fixed_nodes:
                few = torch.linspace(0, graph.num_nodes - 1, min(TRIED, graph.num_nodes)).long()
                own = torch.cat([by_itself(node) for node in few[:, None]])
                if not torch.allclose(own, together[few], rtol=1e-4, atol=1e-4):
                    together = torch.cat([by_itself(node) for node in torch.arange(graph.num_nodes)[:, None]])
    except Exception:  # whatever a user's forward raises that was never asked about such a graph
        return None
    return _as_served(together, side) if bool(torch.isfinite(together).all()) else None


def _as_served(logits: Tensor, side: SideKnowledge) -> Tensor:
    answer = logits.double() if side.outputs == "logits" else log_probabilities(logits).exp()
    return answer if side.served_digits is None else answer.round(decimals=side.served_digits)


def own_queries(target: Target, side: SideKnowledge, rng: np.random.Generator) -> OwnQueries:
    """The model on the graph of an adversary who holds the nodes that are neither training nor validation items.

    A random half of them, of those with a label, may be asked about: what a copy is worth is seen on the others.
    """
    held = ~(target.split.train | target.split.val)
    ids = torch.nonzero(held).flatten()
    labelled = np.flatnonzero(target.graph.labelled[ids].numpy())
    nodes = torch.from_numpy(rng.permutation(labelled)[: ids.numel() // 2])
    graph = target.graph.induced(ids)
    handle = target.with_nodes(ids)

    def answers(edge_index: Tensor) -> Tensor:
        with torch.no_grad():
            return _as_served(handle.logits(graph.x, edge_index), side)

    blank = replace(graph, y=torch.zeros_like(graph.y))
    is_coarse = target.is_coarse or side.served_digits is not None
    return OwnQueries(ids, blank, nodes, answers, outputs=side.outputs, is_coarse=is_coarse)


def made_up_queries(target: Target, side: SideKnowledge) -> OwnQueries:
    """The model on all nodes of the private graph without an edge of it: whoever asks makes the edges up."""
    bare = target.graph.keeping(torch.empty(0, dtype=torch.int64))
    handle, x = target.handle(), bare.x.clone()
    LinearMemo(handle.model).fix(x)  # thousands of graphs are asked about, and the features are the same in all

    def answers(edge_index: Tensor) -> Tensor:
        with torch.no_grad():
            return _as_served(handle.logits(x, edge_index), side)

    ids = torch.arange(target.graph.num_nodes)
    blank = replace(bare, x=x, y=torch.zeros_like(bare.y))
    is_coarse = target.is_coarse or side.served_digits is not None
    return OwnQueries(ids, blank, ids, answers, outputs=side.outputs, is_coarse=is_coarse)


def uniform_pairs(num_nodes: int, count: int, rng: np.random.Generator) -> Tensor:
    """`count` uniform pairs u < v with replacement, int64 [2, count]; all pairs when there are no more than that."""
    total = num_nodes * (num_nodes - 1) // 2
    if total <= count:
        return torch.combinations(torch.arange(num_nodes)).T.contiguous()
    u = rng.integers(0, num_nodes, count)
    v = rng.integers(0, num_nodes - 1, count)
    v = v + (v >= u)
    return torch.from_numpy(np.stack([np.minimum(u, v), np.maximum(u, v)]))
