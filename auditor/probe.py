"""The contract of attacks and harnesses: what an attack gets, and what an evaluation receives and answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from auditor.defense import TrainedModels
from auditor.document import Measured, Series, ValidityRow
from auditor.document.exposed import Exposed
from auditor.outcomes import Outcome
from auditor.perturbations import Perturbations
from auditor.registry import Entry, ProbeEntry, Profile
from auditor.shared import Shared
from auditor.statistics import draws
from auditor.targets.target import Capability, Target
from auditor.view import Access, SideKnowledge, View


@runtime_checkable
class Attack(Protocol):
    """One method, one file: a class of `parameters`, which are its hyper-parameters.

    Reads a View, returns an Outcome. Never computes its own metric, prints, reads a file or touches a global seed. Its
    id, needs, access and role stand on its registry line.
    """

    def run(self, view: View, attempt: Attempt) -> Outcome:
        """The claim of this attack on what `view` shows."""
        ...


@runtime_checkable
class Asks(Protocol):
    """What an attack may offer beyond `Attack`: it asks the model questions, and can do without."""

    def unasked(self) -> Attack:
        """The same method when it asks none: the control of what the answers add."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Registered:
    """An attack with the user's parameters, beside its registry line."""

    entry: Entry
    attack: Attack

    @property
    def id(self) -> str:
        """Of the registry line."""
        return self.entry.id

    @property
    def needs(self) -> frozenset[Capability]:
        """What a target must be able to do."""
        return frozenset(Capability(word) for word in self.entry.needs)

    @property
    def access(self) -> frozenset[Access]:
        """What it is granted."""
        return frozenset(Access(word) for word in self.entry.access)

    def run(self, view: View, attempt: Attempt) -> Outcome:
        """See `Attack`."""
        return self.attack.run(view, attempt)


@dataclass(frozen=True, slots=True, eq=False)
class Attempt:
    """What the harness asks of an attack beside the view: randomness, budgets, depth.

    Attributes:
        rng: the attack's only source of NumPy randomness.
        torch_rng: the same for torch.
        profile: `quick`, `standard` or `full`.
        budgets: edit budgets, ascending, in edges (family `robustness`; empty elsewhere).
        node_caps: largest number of flips at each node, int64 [N]; None for no cap.
        item_budgets: items with a budget each (many graphs, single nodes): for each of `budgets`, the flips allowed in
            or against each of `view.items`, int64 [n]; their sum is the budget.
        effort: steps that a search takes, in units of its usual ones; one that takes notice repeats it in its notes.
        sparing: whether the graph is so large that a search takes its short cuts; one that does says so in its notes.
        variant: the only one of its variants that a search runs; empty for all.
        radii: largest change of each feature value, ascending, in standard deviations (attacks on features).
        edges: most edges of each added node; 0 for what is usual in the graph (attacks that add nodes).
        joins_items: whether added nodes are joined to `view.items` alone (the same).
        likeness: least mean cosine of an added node's features and its neighbours'; None for no bound (the same).
        side: what the user says the adversary knows; the harness grants views by it.
        tick: progress observer, called with a fraction in [0, 1] or None and a short note.
        shared: keeps what other attempts of the run need alike.
    """

    rng: np.random.Generator
    torch_rng: torch.Generator
    profile: Profile = "standard"
    budgets: tuple[int, ...] = ()
    node_caps: Tensor | None = None
    item_budgets: tuple[Tensor, ...] = ()
    effort: float = 1.0
    sparing: bool = False
    variant: str = ""
    radii: tuple[float, ...] = ()
    edges: int = 0
    joins_items: bool = False
    likeness: float | None = None
    side: SideKnowledge = field(default_factory=SideKnowledge)
    tick: Callable[[float | None, str], None] = lambda _fraction, _note: None
    shared: Shared = field(default_factory=Shared)


@dataclass(frozen=True, slots=True, eq=False)
class Cell:
    """One (target, arm, probe, seed), with everything its evaluation needs.

    `attacks` are constructed with the user's parameters; `params` are those of the harness itself; `exposed` is how
    many of the most exposed edges or items may be named.
    """

    target: Target
    probe: ProbeEntry
    attacks: tuple[Registered, ...]
    params: Mapping[str, str]
    profile: Profile
    seed: int
    side: SideKnowledge
    models: TrainedModels
    tick: Callable[[float | None, str], None] = lambda _fraction, _note: None
    exposed: int = 0

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

    def attempt(self, attack: Registered, *draw: str, budgets: tuple[int, ...] = ()) -> Attempt:
        """What the attack is asked, with random streams of its own."""
        name = attack.entry.stream
        return Attempt(
            draws.generator(self.seed, name, *draw),
            draws.torch_generator(self.seed, name, *draw),
            self.profile,
            budgets,
            side=self.side,
            tick=self.tick,
            shared=self.models.shared,
        )


@dataclass(frozen=True, slots=True)
class CellResult:
    """What an evaluation answers for one cell; the runner turns it into rows of the document.

    `params` are plain JSON values: resolved budgets, pair counts, controls that ran, attacks and their settings.
    `fixed`: nothing was drawn, so that another seed gives the same numbers. `exposed`: who is given away most, where
    the cell asks for that. `edits`: those that were verified, for a file; the document never holds them.
    """

    access: tuple[str, ...]
    measured: tuple[Measured, ...]
    series: tuple[Series, ...] = ()
    validity: tuple[ValidityRow, ...] = ()
    params: Mapping[str, Any] = field(default_factory=dict)
    fixed: bool = False
    exposed: tuple[Exposed, ...] = ()
    edits: Perturbations | None = field(default=None, compare=False)


class Evaluation(Protocol):
    """The harness of one family: a function of one cell.

    Raises:
        SkippedError: the probe does not apply; the message is the reason on the row.
    """

    def __call__(self, cell: Cell) -> CellResult:
        """Runs the attacks and the controls, verifies every claim, measures."""
        ...
