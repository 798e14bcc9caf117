"""Finds attacks, defences, reports and loaders, first- and third-party alike, without importing torch.

Each entry point of the groups `auditor.attacks`, `.defenses`, `.reports`, `.loaders` names a *table* in a module that
imports nothing heavy. The class behind an entry is imported when a cell needs it.
"""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Literal, get_args

from auditor.errors import ConfigError, UsageError, nearest
from auditor.taxonomy import GUARANTEE, NOTHING, Taxon

GROUPS = ("attacks", "defenses", "reports", "loaders")
OURS = ("attacks", "defenses", "reports")
"""Packages of this distribution beside `auditor`; a user's folder of the same name may come first on the path."""
FAMILIES = ("privacy", "robustness", "shift")
LEVELS = ("node", "edge", "graph")
LARGEST = 2**31 - 1
"""No count, number of steps or seed that a user gives is larger: what is would overflow, or never end."""
VERB_FINDINGS: Mapping[str, str] = {"defense-gain": "defense", "dp-claim": "privacy"}
"""Findings that a verb raises by itself (`compare`, `dp-claim`), and their family."""
VERB_TAXA: Mapping[str, Taxon] = {"dp-claim": GUARANTEE}
"""What those of them mean elsewhere that mean anything there."""

Profile = Literal["quick", "standard", "full"]
Role = Literal["search", "heuristic", "control"]
Reference = Literal["", "random", "oracle"]


class Access(StrEnum):
    """The words of the threat model; every result shows the ones it used."""

    WEIGHTS = "weights"
    POSTERIORS = "posteriors"
    EMBEDDINGS = "embeddings"
    EXPLANATIONS = "explanations"
    QUERIES = "queries"
    OWN_QUERIES = "own-queries"
    FEATURES = "features"
    LABELS = "labels"
    DENSITY = "density"
    REFERENCES = "references"
    GRAPH = "graph"


class Capability(StrEnum):
    """What a target can do; tried on loading, never believed.

    `SPLIT`: somebody said which items it was trained on. `BARE`: it reads features and edges alone, so that it can be
    asked about any edge list; a model with fields of edges or nodes needs values on what a guess adds. `ANY_NODES`: it
    can be asked about other nodes than those of its graph; a model with a row per node cannot.
    """

    LABELS = "LABELS"
    PROBS = "PROBS"
    LOGITS = "LOGITS"
    EMBEDDINGS = "EMBEDDINGS"
    GRAD_X = "GRAD_X"
    GRAD_EDGE = "GRAD_EDGE"
    PARAMS = "PARAMS"
    RETRAIN = "RETRAIN"
    SPLIT = "SPLIT"
    BARE = "BARE"
    ANY_NODES = "ANY_NODES"


LACKING: Mapping[str, str] = {
    Capability.GRAD_EDGE: "a gradient to its edges (GRAD_EDGE), which no relaxation of this model gives",
    Capability.GRAD_X: "a gradient to its features (GRAD_X)",
    Capability.EMBEDDINGS: "embeddings (EMBEDDINGS); name their layer in [target] embedding_layer",
    Capability.RETRAIN: "a recipe to train it again (RETRAIN); add [target.train] and a way to build a fresh model",
    Capability.SPLIT: 'the training split, which nobody named: give split = "file:split.npz" in [data], or train_mask '
    "and test_mask in the graph",
    Capability.BARE: "a model of features and edges alone (BARE): what this one reads besides is not known for edges "
    "that an attack makes up",
    Capability.ANY_NODES: "other nodes than those of its graph (ANY_NODES): the model has a row per node, and knows "
    "these nodes only",
}
"""What to say where a capability is missing."""


def lack_of(capability: str) -> str:
    """A missing capability in words."""
    return LACKING.get(capability, capability)


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a table: everything that the core must know of a method without importing it.

    Attributes:
        id: kebab-case, the same words as the file.
        location: `module:attribute`, imported only when needed.
        summary: one line.
        family: `privacy`, `robustness`, `shift` for attacks. Of a report, whom it is for: `text` and `page` are read
            by people, `exchange` carries our sentences to another program, `data` is numbers and ids.
        probe: the probe this attack belongs to (default: the attack's own id).
        needs: words of `Capability`, so that a plan needs no import.
        access: what the adversary holds, in the words of `Access` (attacks).
        role: of an attack: `search` looks for the worst case, `heuristic` follows a fixed rule, `control` is what the
            others are measured against.
        tasks: levels of tasks it is for (defences).
        controls: ids of the defences that lack only this one's idea (defences).
        findings: finding ids that its own fit can raise (defences).
        reference: of a control of defences: `random` has the variance without the idea, so that a gain must beat it
            too; `oracle` is told what the others must find, so that its gain is the room there is.
        rng_name: the name of its random streams, fixed for ever; its id at birth where it is empty.
        deterministic: of an attack: it draws nothing, so that every seed asks the same of it and it runs once a run.
        label: of an attack: what tells its numbers from those of the other attacks of its probe, where each has numbers
            of its own; its id where it is empty. Part of fingerprints.
    """

    id: str
    location: str
    summary: str
    family: str = ""
    probe: str = ""
    needs: tuple[str, ...] = ()
    access: tuple[str, ...] = ()
    role: Role = "heuristic"
    tasks: tuple[str, ...] = ("node",)
    controls: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()
    reference: Reference = ""
    rng_name: str = ""
    deterministic: bool = False
    label: str = ""

    def __post_init__(self) -> None:
        owner = f'entry "{self.id}"'
        _allowed(owner, "role", (self.role,), get_args(Role))
        _allowed(owner, "reference", (self.reference,), get_args(Reference))
        _allowed(owner, "needs", self.needs, tuple(Capability))
        _allowed(owner, "access", self.access, tuple(Access))
        _allowed(owner, "tasks", self.tasks, LEVELS)
        if self.family == "privacy":  # its edges are the secret that it is measured against
            _allowed(owner, "access of a privacy attack", self.access, tuple(set(Access) - {Access.GRAPH}))
        _tuples(owner, controls=self.controls, findings=self.findings)
        _located(owner, "location", self.location)

    def load(self) -> Any:
        """The object behind the entry."""
        return _loaded(self.location)

    @property
    def stream(self) -> str:
        """Name of its random streams."""
        return self.rng_name or self.id


@dataclass(frozen=True, slots=True)
class Shown:
    """The one number of a probe that stands in summaries and matrices.

    Attributes:
        metric: its name.
        subset: which items; None for the judged one that is worst.
        as_value: the number itself; otherwise its excess over the control.
    """

    metric: str
    subset: str | None = None
    as_value: bool = False


@dataclass(frozen=True, slots=True)
class ProbeEntry:
    """What the user asks for by id: one attack or a set of attacks with one threat model and one envelope.

    Attributes:
        id: kebab-case.
        family: `privacy`, `robustness` or `shift`.
        evaluation: `module:function` of the harness.
        summary: one line.
        findings: finding ids this probe can raise.
        headline: which of its numbers stands in summaries and matrices.
        touches: ids of the validity rows about a target that spoil it when they fail, beside those that spoil all.
        tasks: levels: `node`, `graph` or both.
        cost: rough CPU seconds on a 3,000-node graph, by profile; what `check` estimates with.
        profiles: profiles that include the probe by default.
        defenses: ids of the defences whose artefact it probes; left out of other targets' plans unless asked for by
            name. Empty for a probe of any target.
        tries: whether its seeds are tries of one adversary on the same weights, so that the worst one is the result.
        deterministic: whether one cell says all: it draws nothing, or bounds what another draw could change.
        judges: whether a number of it may be judged. One that has nothing but bounds to show is no reason to have no
            verdict, beside others that are judged.
        instead_of: a capability that makes it superfluous where little may be spent: `quick` has it only for a target
            that lacks this one, unless asked for by name. Empty for none.
        asks: a key of `[access]` without which it has nothing to ask; then it is left out of plans unless asked for by
            name. Empty for a probe that needs none.
        own_levels_only: whether what it is about is there at its own levels alone; then it is left out of plans of
            other targets unless asked for by name. Of any other probe it is said that it does not apply.
        elsewhere: which probe asks its question at other levels, as the reason why it is skipped there goes on; empty
            where none does.
        present: `module:function` of (target, parameters, id): whether what it is about is there; where not, it is left
            out of plans unless asked for by name. Empty for a probe of what every target has.
        may_lack: capabilities whose lack its harness judges itself: where nothing can happen, no search is needed.
        held_against: id of a probe that has the same budgets and follows no gradient: from `standard` its searches run
            with few queries, and where they reach further no pass rests on the gradients here. Empty for none.
        refuses: `module:function` of (target, parameters, id) that raises a ConfigError where parameters do not fit the
            target, so that this is told before anything runs. Empty where every target takes every parameter.
        extra: module that it cannot do without and that is no dependency of ours, and what pip installs it as; without
            it no plan has more of it than the reason.
        version: raised when results of the probe change meaning; part of every cell key.
        rng_name: the name of its random streams, fixed for ever; its id at birth where it is empty.
        taxon: what its findings mean elsewhere (`auditor.taxonomy`); nothing by default.
        taxa: the same for a finding that means something else than the others.
    """

    id: str
    family: str
    evaluation: str
    summary: str
    findings: tuple[str, ...]
    headline: Shown
    touches: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ("node",)
    cost: Mapping[str, float] = field(default_factory=dict)
    profiles: tuple[str, ...] = ("quick", "standard", "full")
    defenses: tuple[str, ...] = ()
    tries: bool = False
    deterministic: bool = False
    judges: bool = True
    instead_of: str = ""
    asks: str = ""
    own_levels_only: bool = False
    elsewhere: str = ""
    present: str = ""
    may_lack: tuple[str, ...] = ()
    held_against: str = ""
    refuses: str = ""
    extra: tuple[str, str] | None = None
    version: str = "1"
    rng_name: str = ""
    taxon: Taxon = NOTHING
    taxa: Mapping[str, Taxon] = field(default_factory=dict)

    def __post_init__(self) -> None:
        owner = f'probe "{self.id}"'
        _allowed(owner, "family", (self.family,), FAMILIES)
        _allowed(owner, "tasks", self.tasks, LEVELS)
        _allowed(owner, "profiles", self.profiles, get_args(Profile))
        _allowed(owner, "cost", tuple(self.cost), get_args(Profile))
        _allowed(owner, "instead_of", (self.instead_of,), ("", *Capability))
        _allowed(owner, "may_lack", self.may_lack, tuple(Capability))
        _tuples(owner, findings=self.findings, touches=self.touches, defenses=self.defenses)
        _allowed(owner, "taxa", tuple(self.taxa), self.findings)
        _located(owner, "evaluation", self.evaluation)
        for what, came in (("refuses", self.refuses), ("present", self.present)):
            if came:
                _located(owner, what, came)

    @property
    def stream(self) -> str:
        """Name of its random streams."""
        return self.rng_name or self.id


@dataclass(frozen=True, slots=True)
class Table:
    """What one entry point contributes.

    Attributes:
        entries: methods.
        probes: what the user asks for by id, attacks only.
        not_offered: ids that a user may look for, and why there is no such method here.
        templates: `module:attribute` of the words for its findings: a mapping from finding id to
            `reports.sentences.templates.Template`. A finding without any is worded by a general one.
    """

    entries: tuple[Entry, ...] = ()
    probes: tuple[ProbeEntry, ...] = ()
    not_offered: Mapping[str, str] = field(default_factory=dict)
    templates: str = ""


def check_packages() -> None:
    """Makes sure that `attacks`, `defenses` and `reports` are ours, before anything of them is imported.

    Raises:
        UsageError: another package of that name comes first.
    """
    ours = Path(__file__).resolve().parents[1]
    for name in OURS:
        spec = importlib.util.find_spec(name)
        places = [] if spec is None else list(spec.submodule_search_locations or ())
        found = Path(places[0] if places else (spec and spec.origin) or "nowhere").resolve()
        if found != ours / name:
            raise UsageError(
                f'the package "{name}" was found at {found}, ours is {ours / name}: a folder of that name shadows it, '
                "and no probe, defence or report of it could be found. Start Python with -P (auditor: from another "
                "folder), take it off PYTHONPATH, or rename it."
            )


@cache
def _tables(group: str) -> tuple[Table, ...]:
    """Tables of one group; one of somebody else that fails to import warns and is left out.

    Raises:
        UsageError: our own cannot be found.
    """
    check_packages()
    tables = []
    for point in sorted(entry_points(group=f"auditor.{group}"), key=lambda p: (p.name != "builtin", p.name)):
        try:
            tables.append(point.load())
        except Exception as error:  # whatever somebody else's module raises
            warnings.warn(f"plug-in {point.name} ({point.value}) could not be imported: {error!r}", stacklevel=2)
    if not any(table.entries for table in tables):
        raise UsageError(f"nothing is registered in auditor.{group}: the installation is incomplete. Install it again.")
    return tuple(tables)


def entries(group: str) -> dict[str, Entry]:
    """Every entry of a group by id, in table order; the first of two equal ids wins."""
    return _by_id(entry for table in _tables(group) for entry in table.entries)


def probes() -> dict[str, ProbeEntry]:
    """Every probe by id, in table order."""
    return _by_id(probe for table in _tables("attacks") for probe in table.probes)


def attacks_of(probe: str) -> tuple[Entry, ...]:
    """The attacks of a probe, in table order."""
    return tuple(entry for entry in entries("attacks").values() if (entry.probe or entry.id) == probe)


def findings() -> dict[str, str]:
    """Every finding id that a registered probe, the fit of a defence or a verb can raise, sorted, with its family."""
    raised = dict(VERB_FINDINGS)
    lines: list[Entry | ProbeEntry] = [*entries("defenses").values(), *probes().values()]
    for line in lines:
        raised.update(dict.fromkeys(line.findings, line.family))
    return dict(sorted(raised.items()))


def taxon(finding: str) -> Taxon:
    """What a finding means elsewhere: its probe's line says it, or the verb's. Nothing for one that neither raises."""
    found = (probe.taxa.get(finding, probe.taxon) for probe in probes().values() if finding in probe.findings)
    return next(found, VERB_TAXA.get(finding, NOTHING))


@cache
def templates() -> Mapping[str, Any]:
    """The words that tables bring for their findings; a table whose words fail to import warns, and has none."""
    locations = [table.templates for group in ("attacks", "defenses") for table in _tables(group) if table.templates]
    found: dict[str, Any] = {}
    for location in locations:
        try:
            found = {**load_location(location), **found}
        except Exception as error:
            warnings.warn(f"templates {location} could not be imported: {error!r}", stacklevel=2)
    return found


def find(group: str, id_: str) -> Entry:
    """One entry by id.

    Raises:
        ConfigError: unknown id; the nearest one is offered, or the reason why it is not.
    """
    known = entries(group)
    if id_ not in known:
        reason = next((t.not_offered[id_] for t in _tables(group) if id_ in t.not_offered), None)
        if reason is not None:
            raise ConfigError(f"{id_} is not offered: {reason}")
        raise ConfigError(f'no {group.removesuffix("s")} is called "{id_}". {nearest(id_, known)}')
    return known[id_]


def find_probe(id_: str) -> ProbeEntry:
    """One probe by id.

    Raises:
        ConfigError: unknown id; the nearest one is offered.
    """
    known = probes()
    if id_ not in known:
        raise ConfigError(f'no probe is called "{id_}". {nearest(id_, known)} "auditor list probes" shows them all.')
    return known[id_]


def load_location(location: str) -> Any:
    """The object named `module:attribute`."""
    return _loaded(location)


def parse_spec(text: str) -> tuple[str, dict[str, str]]:
    """`id` or `id:key=value,key=value` as (id, parameters).

    Raises:
        ConfigError: a piece without `=`, or a key given twice.
    """
    id_, _, rest = text.partition(":")
    params: dict[str, str] = {}
    for piece in filter(None, rest.split(",")):
        key, sign, value = piece.partition("=")
        key = key.strip()
        if not sign or not key:
            raise ConfigError(f'"{piece}" in "{text}" is not one key=value; write {id_}:key=value,key=value.')
        if key in params:
            raise ConfigError(f'"{text}" gives {key} twice. Leave one out; a list is written {key}=A/B.')
        params[key] = value.strip()
    return id_.strip(), params


def parse_specs(text: str) -> list[tuple[str, dict[str, str]]]:
    """A comma list of specs; a piece `key=value` without an id belongs to the id before it."""
    specs: list[str] = []
    for piece in filter(None, (part.strip() for part in text.split(","))):
        head = piece.partition(":")[0]
        if "=" in head and specs:
            specs[-1] += ("," if ":" in specs[-1] else ":") + piece
        else:
            specs.append(piece)
    return [parse_spec(spec) for spec in specs]


def canonical_spec(id_: str, params: Mapping[str, str]) -> str:
    """`id:key=value,…` with keys sorted; `id` alone without parameters."""
    return id_ if not params else f"{id_}:" + ",".join(f"{k}={params[k]}" for k in sorted(params))


def _loaded(location: str) -> Any:
    module, _, attribute = location.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _allowed(owner: str, what: str, came: object, known: tuple[str, ...]) -> None:
    """Raises ConfigError when a word of a registry line is none that is known."""
    _tuples(owner, **{what: came})
    wrong = [word for word in came if word not in known]  # type: ignore[attr-defined]  # a tuple by now
    if wrong:
        raise ConfigError(f'{owner}: {what} "{wrong[0]}" is not known; expected {", ".join(sorted(known)) or "none"}.')


def _tuples(owner: str, **fields: object) -> None:
    for what, came in fields.items():
        if not isinstance(came, tuple):
            raise ConfigError(f"{owner}: {what} is {came!r}; expected a tuple, as in {what}=({came!r},).")


def _located(owner: str, what: str, came: str) -> None:
    if not all(came.partition(":")):
        raise ConfigError(f'{owner}: {what} is "{came}"; expected module:attribute.')


def _by_id(items: Iterable[Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for item in items:
        found.setdefault(item.id, item)
    return found
