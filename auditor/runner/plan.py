"""The plan of a run: which probes, with which parameters, on which seeds, and why one cannot run here."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from auditor import registry
from auditor.errors import ConfigError, nearest
from auditor.probe import Attack, Profile, read_settings
from auditor.registry import Entry, ProbeEntry
from auditor.targets.target import Target
from auditor.view import SideKnowledge

PROFILES: tuple[Profile, ...] = ("quick", "standard", "full")
SEEDS_BY_PROFILE: Mapping[Profile, tuple[int, ...]] = {"quick": (0,), "standard": (0, 1, 2), "full": (0, 1, 2, 3, 4)}


@dataclass(frozen=True, slots=True)
class ProbeRequest:
    """One probe with the user's parameters; `named` when it was asked for by id."""

    entry: ProbeEntry
    params: Mapping[str, str] = field(default_factory=dict)
    named: bool = False

    @property
    def spec(self) -> str:
        """`id:key=value,…` in canonical form."""
        return registry.canonical_spec(self.entry.id, self.params)


@dataclass(frozen=True, slots=True, eq=False)
class PlannedCell:
    """One cell of the plan; `skip` is the reason when it cannot run on this target."""

    request: ProbeRequest
    seed: int
    profile: Profile
    key: str
    attacks: tuple[Attack, ...]
    params: Mapping[str, str]
    skip: str = ""
    defense: str = "none"

    @property
    def estimate_s(self) -> float:
        """Rough CPU seconds; the probe's own hint for a graph of some 3,000 nodes."""
        return 0.0 if self.skip else float(self.request.entry.cost.get(self.profile, 0.0))


def choose_probes(
    *,
    only: str = "",
    skip: str = "",
    family: str = "",
    profile: Profile = "standard",
) -> tuple[ProbeRequest, ...]:
    """The probes of a run: those of the profile, narrowed by `only`, `skip` and `family`.

    Raises:
        ConfigError: unknown probe, family or profile; nothing left to run.
    """
    if profile not in PROFILES:
        raise ConfigError(
            f'profile is "{profile}"; expected one of {", ".join(PROFILES)}. {nearest(profile, PROFILES)}'
        )
    known = registry.probes()
    if only:
        requests = [
            ProbeRequest(registry.find_probe(id_), params, named=True) for id_, params in registry.parse_specs(only)
        ]
    else:
        requests = [ProbeRequest(probe) for probe in known.values() if profile in probe.profiles]
    if family:
        families = {probe.family for probe in known.values()}
        wanted = [word.strip() for word in family.split(",")]
        for word in wanted:
            if word not in families:
                raise ConfigError(f'no family is called "{word}". {nearest(word, families)}')
        requests = [request for request in requests if request.entry.family in wanted]
    for id_, params in registry.parse_specs(skip):
        registry.find_probe(id_)
        if params:
            raise ConfigError(f'--skip takes probe ids without parameters; got "{id_}:…".')
        requests = [request for request in requests if request.entry.id != id_]
    if not requests:
        raise ConfigError("no probe is left to run; loosen --only, --skip, --family or --profile.")
    asked = [request.spec for request in requests]
    if len(set(asked)) != len(asked):
        raise ConfigError(f"a probe was asked for twice in {', '.join(asked)}; name each once, or vary its parameters.")
    return tuple(requests)


def plan(
    target: Target,
    requests: Sequence[ProbeRequest],
    *,
    seeds: Sequence[int],
    profile: Profile,
    side: SideKnowledge,
    defense: str = "none",
) -> tuple[PlannedCell, ...]:
    """Every cell, in order, with the reason where it cannot run on `target`; `defense` made the target, or will.

    Raises:
        ConfigError: a parameter that neither the harness nor any attack of the probe declares, or of the wrong type.
    """
    data = target.graph.digest()
    cells = []
    own = registry.parse_spec(defense if target.defense is None else target.defense.spec)[0]
    for request in requests:
        if request.entry.defenses and own not in request.entry.defenses and not request.named:
            continue  # it probes what another defence ships: nothing that this target has could be at stake
        entries = registry.attacks_of(request.entry.id)
        attacks, params = build_attacks(request, entries)
        skip = _reason_to_skip(target, request.entry, entries, attacks)
        usable = tuple(a for a in attacks if a.needs <= target.capabilities)
        cells += [
            PlannedCell(
                request,
                seed,
                profile,
                _cell_key(target, data, request, seed, profile, side, defense),
                usable,
                params,
                skip,
                defense,
            )
            for seed in seeds
        ]
    return tuple(cells)


def build_attacks(request: ProbeRequest, entries: Sequence[Entry]) -> tuple[tuple[Attack, ...], dict[str, str]]:
    """The attacks of a probe with the user's parameters, and the parameters that the harness takes.

    A parameter goes to everyone who declares it: the harness's `Settings` and each attack's own fields.

    Raises:
        ConfigError: nobody declares it (nearest name offered), or its value has the wrong type.
    """
    id_ = request.entry.id
    classes = [entry.load() for entry in entries]
    settings = importlib.import_module(request.entry.evaluation.partition(":")[0]).Settings
    declared = {f.name for kind in (settings, *classes) for f in dataclasses.fields(kind)}
    for key in request.params:
        if key.replace("-", "_") not in declared:
            raise ConfigError(f'{id_} has no parameter "{key}". {nearest(key, declared)}')

    def mine(kind: type) -> dict[str, str]:
        names = {f.name for f in dataclasses.fields(kind)}
        return {key: value for key, value in request.params.items() if key.replace("-", "_") in names}

    harness = mine(settings)
    read_settings(settings, harness, owner=id_)
    return tuple(read_settings(kind, mine(kind), owner=id_) for kind in classes), harness


def _reason_to_skip(target: Target, probe: ProbeEntry, entries: Sequence[Entry], attacks: Sequence[Attack]) -> str:
    """Why the probe cannot run here, or an empty string.

    An attack without needs is a floor, never an audit: when no attack with needs can run, the probe is skipped.
    """
    if target.task not in probe.tasks:
        return f"{probe.id} audits {' and '.join(probe.tasks)} classifiers; {target.name} classifies {target.task}s"
    demanding = [attack for attack in attacks if attack.needs]
    if demanding and not any(attack.needs <= target.capabilities for attack in demanding):
        lacking: list[list[str]] = [sorted(attack.needs - target.capabilities) for attack in demanding]
        missing = min(lacking, key=len)
        offered = ", ".join(sorted(target.capabilities)) or "nothing"
        return f"needs {', '.join(missing)}; {target.name} offers {offered}"
    return "" if entries else f"no attack is registered for {probe.id}"


def _cell_key(
    target: Target,
    data: str,
    request: ProbeRequest,
    seed: int,
    profile: Profile,
    side: SideKnowledge,
    defense: str,
) -> str:
    words = {
        "target": target.digest,
        "data": data,
        "defense": defense,
        "probe": request.spec,
        "version": request.entry.version,
        "profile": profile,
        "seed": seed,
        "side": dataclasses.asdict(side),
    }
    return hashlib.sha256(json.dumps(words, sort_keys=True).encode()).hexdigest()
