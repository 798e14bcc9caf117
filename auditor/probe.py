"""The contracts: what an attack declares and returns, and what an evaluation receives and answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal, Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from auditor.audit import Artifact, Measurement, Series, ValidityRow
from auditor.data.graph import Graph
from auditor.errors import ConfigError, nearest
from auditor.guarantee import NoiseSeed
from auditor.registry import ProbeEntry, canonical_spec, entries
from auditor.statistics import draws
from auditor.statistics.node_bootstrap import Memo
from auditor.targets.target import Capability, Target
from auditor.view import Access, SideKnowledge, View

Profile = Literal["quick", "standard", "full"]


class Outcome:
    """What an attack claims. The evaluation re-checks every claim against the target."""


@dataclass(frozen=True, slots=True, eq=False)
class LinkOutcome(Outcome):
    """A scorer of node pairs: `score(pairs int64 [2, M]) -> float64 [M]`, larger = likelier an edge.

    Called only after `run` has returned. It must be symmetric, finite, and independent of the other pairs in the call.
    `notes` are plain values for the report ("no gradient to follow", candidate counts, recall).
    """

    score: Callable[[Tensor], Tensor]
    notes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class MembershipOutcome(Outcome):
    """Scores for every item, float64 [V, items]: larger = likelier a training item; `variant` names each row."""

    scores: Tensor
    variant: tuple[str, ...]
    notes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class FlipSet:
    """Edges toggled at one budget: pair keys min * N + max (arcs: u * N + v), int64 [k], k <= budget."""

    budget: int
    keys: Tensor
    claimed_accuracy: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class FlipOutcome(Outcome):
    """Flip sets, several per budget allowed (losses, draws, restarts); `label` in `variant` names each arm."""

    points: tuple[FlipSet, ...]
    variant: tuple[str, ...]
    notes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class ShiftedSet:
    """The same items on edited data, or other items on the same data (shift spec 2).

    Attributes:
        name: kind of shift or property (`edge-drop`, `degree`).
        severity: the value (`0.1`), a bin's name (`2-3`); printed in `subset`.
        draw: number of the random draw, 0 for a deterministic set.
        items: ids of the evaluated items, int64 [n], in the numbering of the *original* graph.
        graph: edited data; None for the target's own graph.
        node_ids: original id of each node of `graph`, int64 [N']; None when unchanged.
        paired: whether differences to the ID set may be taken item by item.
        labels: `kept` (accuracy reported), `doubtful` (never gated), `undefined` (detection only).
        claimed_rate: share of edges, entries or nodes really edited; re-measured by the evaluation.
        notes: plain values (norm ratio, flags) printed with the row.
    """

    name: str
    severity: str
    draw: int
    items: Tensor
    graph: Graph | None = None
    node_ids: Tensor | None = None
    paired: bool = True
    labels: Literal["kept", "doubtful", "undefined"] = "kept"
    claimed_rate: float | None = None
    notes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class ShiftOutcome(Outcome):
    """Shifted sets, and what they were cut by.

    Attributes:
        sets: may be made one at a time while they are read: an edited copy of the features is large.
        properties: value of each property for all items, float64 [num_items]; what strata are checked against.
        notes: plain values for the report (what was skipped, and why).
    """

    sets: Iterable[ShiftedSet]
    properties: Mapping[str, Tensor] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)


@runtime_checkable
class Attack(Protocol):
    """One method, one file: a frozen dataclass whose fields are its hyper-parameters.

    Reads a View, returns an Outcome. Never computes its own metric, prints, reads a file or touches a global seed.
    """

    id: ClassVar[str]
    needs: ClassVar[frozenset[Capability]]
    access: ClassVar[frozenset[Access]]

    def run(self, view: View, task: AttackTask) -> Outcome:
        """The claim of this attack on what `view` shows."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class AttackTask:
    """What the harness asks of an attack beside the view: randomness, budgets, depth.

    Attributes:
        rng: the attack's only source of NumPy randomness.
        torch_rng: the same for torch.
        profile: `quick`, `standard` or `full`.
        budgets: edit budgets, ascending, in edges (adversarial family; empty elsewhere).
        node_caps: largest number of flips at each node, int64 [N]; None for no cap.
        item_budgets: task `graph`: for each of `budgets`, the flips allowed in each graph of `view.items`, int64 [n];
            their sum is the budget.
        tick: progress observer, called with a fraction in [0, 1] or None and a short note.
    """

    rng: np.random.Generator
    torch_rng: torch.Generator
    profile: Profile = "standard"
    budgets: tuple[int, ...] = ()
    node_caps: Tensor | None = None
    item_budgets: tuple[Tensor, ...] = ()
    tick: Callable[[float | None, str], None] = lambda _fraction, _note: None


class TrainedModels(Protocol):
    """Keyed cache of twins: trained once, shared by every cell that needs the same one; and of edits found on them.

    Attributes:
        replicates: bootstrap columns of scores, see `auditor.statistics.node_bootstrap`; one run's controls are
            measured once.
    """

    replicates: Memo

    def twin(self, target: Target, graph: Graph, seed: int) -> Target:
        """`target.retrained(graph, seed=seed)`, or the one trained before with equal inputs."""
        ...

    def keep_flips(self, target: Target, flips: Sequence[FlipSet]) -> None:
        """Remembers verified flip sets found on `target`, so that they can be tried on its relatives (transfer)."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Cell:
    """One (target, defence, probe, seed), with everything its evaluation needs.

    `attacks` are constructed with the user's parameters; `params` are those of the harness itself.
    """

    target: Target
    probe: ProbeEntry
    attacks: tuple[Attack, ...]
    params: Mapping[str, str]
    profile: Profile
    seed: int
    side: SideKnowledge
    models: TrainedModels
    tick: Callable[[float | None, str], None] = lambda _fraction, _note: None

    def rng(self, *draw: str) -> np.random.Generator:
        """The generator of one draw of this probe: seed, the probe's name and the draw's, nothing else.

        Results depend neither on the order of cells nor on the target, and every arm of a comparison gets equal draws.
        """
        return draws.generator(self.seed, self.probe.stream, *draw)

    def torch_rng(self, *draw: str) -> torch.Generator:
        """The same for torch."""
        return draws.torch_generator(self.seed, self.probe.stream, *draw)

    def integer(self, *draw: str) -> int:
        """The same for code that takes a seed."""
        return draws.integer(self.seed, self.probe.stream, *draw)

    def task(self, attack: Attack, *draw: str, budgets: tuple[int, ...] = ()) -> AttackTask:
        """An AttackTask whose random streams are the attack's own."""
        name = stream_of(attack.id)
        rngs = draws.generator(self.seed, name, *draw), draws.torch_generator(self.seed, name, *draw)
        return AttackTask(*rngs, self.profile, budgets, tick=self.tick)


def stream_of(attack: str) -> str:
    """Name of an attack's random streams; its id where no table lists it."""
    entry = entries("attacks").get(attack)
    return attack if entry is None else entry.stream


@runtime_checkable
class Defense(Protocol):
    """One defence, one file: a frozen dataclass whose fields are its parameters (`id:key=value,…` on the command line).

    `fit` trains by the target's own recipe (architecture built afresh from `seed`, optimiser, epochs) or wraps the
    trained model, and returns a new Target whose recipe refits the defence. Nothing is printed, no global seed touched.
    """

    id: ClassVar[str]
    version: ClassVar[str]
    needs: ClassVar[frozenset[Capability]]
    tasks: ClassVar[tuple[str, ...]]

    def fit(self, target: Target, task: DefenseTask) -> Target:
        """The defended target, `Target.defense` set.

        Raises:
            SkippedError: the defence does not apply to this target; the message is the reason.
        """
        ...

    def wrap(self, base: Target, tensors: Mapping[str, Tensor], task: DefenseTask) -> Target:
        """The defended target rebuilt from what `fit` saved (its model's state dict); nothing is trained.

        Raises:
            LoadError: the tensors do not fit each other or this defence.
        """
        ...

    def controls(self) -> tuple[str, ...]:
        """Specs of the defences that lack only the idea, strongest statement first; `compare` adds them by itself."""
        ...


@runtime_checkable
class ServesInModes(Protocol):
    """A defence whose one fit can be served in several ways.

    `mode_parameter` is the parameter that says which. Where the user leaves it out the deployment is undeclared:
    `compare` adds the other modes, and what is said of the defence is said of the one in which it gains least. A mode's
    controls are those of the defence in that mode, in the same order.
    """

    mode_parameter: ClassVar[str]

    def modes(self, profile: Profile) -> tuple[str, ...]:
        """Specs that serve the same fit in the other ways that this profile looks at."""
        ...


@runtime_checkable
class HasEffect(Protocol):
    """A reweighting: balanced accuracy is what it is judged by, under a finding of its own; empty: shown, not gated."""

    effect: ClassVar[str]


@dataclass(frozen=True, slots=True, eq=False)
class DefenseTask:
    """What a defence gets beside the target.

    Attributes:
        seed: of initial weights, batch order, partition: one seed means paired runs for every defence.
        models: shared cache of trained models.
        group: a named group column, int64 [items], for `group-balanced`; None when the user named none.
        tick: progress observer.
        release: the model is to leave the house: privacy noise and private draws come from the operating system and
            are recorded nowhere. Otherwise they follow from `seed`, so that an audit can be repeated.
        noise_scale: 1; 0 or 0.5 only for the reach twin of an audited claim, which carries no Guarantee.
    """

    seed: int
    models: TrainedModels
    group: Tensor | None = None
    tick: Callable[[float | None, str], None] = lambda _fraction, _note: None
    release: bool = False
    noise_scale: float = 1.0

    def noise_rng(self, *words: str) -> np.random.Generator:
        """A generator for privacy noise, Poisson batches and samples of records; `words` keep streams apart."""
        if self.release:
            return np.random.default_rng()  # from the operating system
        return draws.generator(self.seed, "noise", *words)

    @property
    def noise_seed(self) -> NoiseSeed:
        """What the Guarantee says of it."""
        return "secret" if self.release else "recorded"


@dataclass(frozen=True, slots=True)
class Result:
    """What an evaluation answers for one cell; the runner turns it into a row of the document.

    `params` are plain JSON values: resolved budgets, pair counts, controls that ran, attacks and their settings.
    """

    access: tuple[str, ...]
    measurements: tuple[Measurement, ...]
    series: tuple[Series, ...] = ()
    artifacts: tuple[Artifact, ...] = ()
    validity: tuple[ValidityRow, ...] = ()
    params: Mapping[str, Any] = field(default_factory=dict)


class Evaluation(Protocol):
    """The harness of one family: a function of one cell.

    Raises:
        SkippedError: the probe does not apply; the message is the reason on the row.
    """

    def __call__(self, cell: Cell) -> Result:
        """Runs the attacks and the controls, verifies every claim, measures."""
        ...


def spec_of(method: Any) -> str:
    """A method (frozen dataclass with an `id`) in canonical form: every parameter that is not its default, sorted."""
    own = {}
    for f in fields(method):
        value, default = getattr(method, f.name), f.default
        if value != default:
            own[f.name.replace("_", "-")] = str(value).lower() if isinstance(value, bool) else str(value)
    return canonical_spec(method.id, own)


S = TypeVar("S")


def read_settings(kind: type[S], params: Mapping[str, str], *, owner: str) -> S:
    """A frozen dataclass of settings filled from `key=value` words, typed by the field's default.

    A list inside a value is written with slashes (`eps=0.01/0.05`) and lands in a tuple field.

    Raises:
        ConfigError: unknown key (nearest name offered) or a value of the wrong type.
    """
    known = {f.name: f for f in fields(kind)}  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for key, text in params.items():
        name = key.replace("-", "_")
        if name not in known:
            raise ConfigError(f'{owner} has no parameter "{key}". {nearest(name, known)}')
        default = known[name].default
        try:
            values[name] = _convert(text, default)
        except ValueError:
            raise ConfigError(
                f'{owner}: {key}="{text}" cannot be read as {_kind_name(default)}; the default is {default!r}.'
            ) from None
    return kind(**values)


def _convert(text: str, default: object) -> object:
    if isinstance(default, bool):
        if text.lower() not in ("true", "false"):
            raise ValueError(text)
        return text.lower() == "true"
    if isinstance(default, int):
        return int(text)
    if isinstance(default, float):
        return float(text)
    if isinstance(default, tuple):
        first = default[0] if default else ""
        return tuple(_convert(part, first) for part in text.split("/"))
    return text


def _kind_name(default: object) -> str:
    names = {bool: "true or false", int: "a whole number", float: "a number", tuple: "a list like a/b/c"}
    return next((name for kind, name in names.items() if isinstance(default, kind)), "a word")
