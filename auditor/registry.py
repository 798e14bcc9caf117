"""Finds attacks, defences, reports and loaders, first- and third-party alike, without importing torch.

Each entry point of the groups `auditor.attacks`, `.defenses`, `.reports`, `.loaders` names a *table* in a module that
imports nothing heavy. The class behind an entry is imported when a cell needs it.
"""

from __future__ import annotations

import importlib
import importlib.util
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Literal

from auditor.errors import ConfigError, UsageError, nearest
from auditor.taxonomy import VERB_FINDINGS

GROUPS = ("attacks", "defenses", "reports", "loaders")
OURS = ("attacks", "defenses", "reports")
"""Packages of this distribution beside `auditor`; a user's folder of the same name may come first on the path."""


Profile = Literal["quick", "standard", "full"]
Role = Literal["search", "heuristic", "control"]
Reference = Literal["", "random", "oracle"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of a table: everything that the core must know of a method without importing it.

    Attributes:
        id: kebab-case, the same words as the file.
        location: `module:attribute`, imported only when needed.
        summary: one line.
        family: `privacy`, `robustness`, `shift` for attacks; the report's or loader's kind elsewhere.
        probe: the probe this attack belongs to (default: the attack's own id).
        needs: capability names, so that a plan needs no import.
        access: what the adversary holds, in the words of `auditor.view.Access` (attacks).
        role: of an attack: `search` looks for the worst case, `heuristic` follows a fixed rule, `control` is what the
            others are measured against.
        tasks: levels of tasks it is for (defences).
        controls: ids of the defences that lack only this one's idea (defences).
        findings: finding ids that its own fit can raise (defences).
        reference: of a control of defences: `random` has the variance without the idea, so that a gain must beat it
            too; `oracle` is told what the others must find, so that its gain is the room there is.
        rng_name: the name of its random streams, fixed for ever; its id at birth where it is empty.
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

    def load(self) -> Any:
        """The object behind the entry."""
        module, _, attribute = self.location.partition(":")
        return getattr(importlib.import_module(module), attribute)

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
        deterministic: whether it draws nothing, so that one cell says all.
        version: raised when results of the probe change meaning; part of every cell key.
        rng_name: the name of its random streams, fixed for ever; its id at birth where it is empty.
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
    version: str = "1"
    rng_name: str = ""

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
    """

    entries: tuple[Entry, ...] = ()
    probes: tuple[ProbeEntry, ...] = ()
    not_offered: Mapping[str, str] = field(default_factory=dict)


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


def defense_findings() -> tuple[str, ...]:
    """Finding ids that the fit of a defence can raise, in table order."""
    return tuple(dict.fromkeys(id_ for entry in entries("defenses").values() for id_ in entry.findings))


def finding_ids() -> tuple[str, ...]:
    """Every finding id that a registered probe, the fit of a defence or a verb can raise, sorted."""
    raised = {id_ for probe in probes().values() for id_ in probe.findings}
    return tuple(sorted({*raised, *defense_findings(), *VERB_FINDINGS}))


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


def load_location(location: str) -> Callable[..., Any]:
    """The object named `module:attribute`."""
    return Entry("", location, "").load()  # type: ignore[no-any-return]


def parse_spec(text: str) -> tuple[str, dict[str, str]]:
    """`id` or `id:key=value,key=value` as (id, parameters).

    Raises:
        ConfigError: a piece without `=`, or a key given twice.
    """
    id_, _, rest = text.partition(":")
    params: dict[str, str] = {}
    for piece in filter(None, rest.split(",")):
        key, sign, value = piece.partition("=")
        if not sign or not key or key in params:
            raise ConfigError(f'"{piece}" in "{text}" is not one key=value; write {id_}:key=value,key=value.')
        params[key.strip()] = value.strip()
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


def _by_id(items: Iterable[Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for item in items:
        found.setdefault(item.id, item)
    return found
