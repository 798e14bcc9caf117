"""The plan of a run: which probes, with which parameters, on which seeds, and why one cannot run here."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import importlib.util
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auditor import registry
from auditor.data.roots import digest_files
from auditor.document import NONE, RECIPE
from auditor.errors import ConfigError, nearest
from auditor.parameters import build, meant_for
from auditor.records import Model
from auditor.registry import LACKING, ProbeEntry, Profile, lack_of
from auditor.runner.fitting import refuse_idle
from auditor.runner.plain import Edits
from auditor.side_knowledge import UNSAID

if TYPE_CHECKING:
    from auditor.probe import Registered
    from auditor.targets.target import Target
    from auditor.view import SideKnowledge

PROFILES: tuple[Profile, ...] = ("quick", "standard", "full")
SEEDS_BY_PROFILE: Mapping[Profile, tuple[int, ...]] = {"quick": (0,), "standard": (0, 1, 2), "full": (0, 1, 2, 3, 4)}


FIT, GAIN, CLAIM = "fit", "gain", "dp-claim"
STEPS: Mapping[str, str] = {FIT: "defense", GAIN: "defense", CLAIM: "dp"}
"""Cells that are no probe's, and their families: a defence is fitted; an arm is tried with the edits found on all; a
mechanism is run once more."""
STEP_S = 60.0
"""CPU seconds that one training is reckoned with where nobody can know."""


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


class PlannedCell(Model):
    """One cell of the plan, as plain values: it travels between processes and lies in the record of a run.

    Attributes:
        spec: the probe with the user's parameters, in canonical form.
        key: digest of everything that identifies the cell.
        named: the probe was asked for by id.
        arm: the defence that made the model or will; `RECIPE` for one that its own recipe trains anew.
        skip: why it cannot run on this target.
        lacks: what the target lacks for it.
        flips: edits to try, of a cell that tries those of others.
        step_s: rough CPU seconds of a step.
        exposed: how many of the most exposed edges or items may be named.
        save_flips: its verified edits are kept as a file.
    """

    spec: str
    seed: int
    profile: Profile
    key: str
    named: bool = False
    arm: str = NONE
    skip: str = ""
    lacks: tuple[str, ...] = ()
    flips: tuple[Edits, ...] = ()
    step_s: float = 0.0
    exposed: int = 0
    save_flips: bool = False

    @property
    def id(self) -> str:
        """Of the probe or step."""
        return registry.parse_spec(self.spec)[0]

    @property
    def family(self) -> str:
        """Of the probe or step."""
        return STEPS.get(self.spec) or self.entry.family

    @property
    def is_probe(self) -> bool:
        """Whether a harness carries it out; the other cells are steps of a comparison or a claim."""
        return self.spec not in STEPS

    @property
    def entry(self) -> ProbeEntry:
        """The registry line of the probe."""
        return registry.find_probe(registry.parse_spec(self.spec)[0])

    @property
    def params(self) -> Mapping[str, str]:
        """The user's parameters."""
        return registry.parse_spec(self.spec)[1]

    @property
    def estimate_s(self) -> float:
        """Rough CPU seconds; the probe's own hint for a graph of some 3,000 nodes."""
        if self.skip:
            return 0.0
        return float(self.entry.cost.get(self.profile, 0.0)) if self.is_probe else self.step_s


def seeds_of(profile: str) -> tuple[int, ...]:
    """The attack seeds of a profile.

    Raises:
        ConfigError: there is no such profile.
    """
    for known, seeds in SEEDS_BY_PROFILE.items():
        if known == profile:
            return seeds
    raise ConfigError(f'profile is "{profile}"; expected one of {", ".join(PROFILES)}. {nearest(profile, PROFILES)}')


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
    seeds_of(profile)
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
    arm: str = NONE,
    group: str = "",
    exposed: int = 0,
    save_flips: bool = False,
) -> tuple[PlannedCell, ...]:
    """Every cell, in order, with the reason where it cannot run on `target`; `arm` is the defence that made it or will.

    `group` names the column that defences may be told of; `exposed` is how many of the most exposed may be named;
    `save_flips` keeps verified edits as files.

    A probe that draws nothing has one cell, whatever the seeds.

    Raises:
        ConfigError: a parameter that neither the harness nor any attack of the probe declares, of the wrong type, or
            one that does not fit the target or could change nothing there; a sensitive column that is not there.
    """
    from auditor.data.sensitive import sensitive_column

    if side.sensitive is not None:
        sensitive_column(target.graph, side.sensitive)  # a column that is not there is told before anything runs
    data = target.graph.digest()
    cells = []
    own = registry.parse_spec(arm if target.defense is None else target.defense.spec)[0]
    for request in requests:
        if request.entry.defenses and own not in request.entry.defenses and not request.named:
            continue  # it probes what another defence ships: nothing that this target has could be at stake
        if profile == "quick" and request.entry.instead_of in target.capabilities and not request.named:
            continue  # what it stands in for can be done, and does more for less
        if request.entry.own_levels_only and target.task.level not in request.entry.tasks and not request.named:
            continue  # what it asks about is not there: no graph is a member where nodes are classified
        unsaid = request.entry.asks if request.entry.asks and not side.says(request.entry.asks) else ""
        if unsaid and not request.named:
            continue  # nobody said that there is anything that it could ask about
        attacks, _ = build_attacks(request.entry, request.params)
        about = (target, request.params, request.entry.id)
        present = request.entry.present
        if present and not request.named and not registry.load_location(present)(*about):
            continue  # nothing of the kind is there, and nobody named it
        if request.entry.refuses:
            registry.load_location(request.entry.refuses)(*about)
        refuse_idle(target, request.entry, attacks, request.params, profile)
        names = exposed if request.entry.family == "privacy" else 0  # the others go on after a run that named others
        skip, lacks = _reason_to_skip(target, request.entry, attacks)
        if unsaid and not skip:
            skip = UNSAID.get(unsaid, "")
        cells += [
            PlannedCell(
                spec=request.spec,
                seed=seed,
                profile=profile,
                key=_cell_key(target, data, request, seed, profile, side, _maker(arm, group), names, save_flips),
                named=request.named,
                arm=arm,
                skip=skip,
                lacks=lacks,
                exposed=names,
                save_flips=save_flips,
            )
            for seed in (seeds[:1] if request.entry.deterministic else seeds)
        ]
    return tuple(cells)


def plan_run(
    target: Target,
    requests: Sequence[ProbeRequest],
    *,
    seeds: Sequence[int],
    profile: Profile,
    side: SideKnowledge,
    trainings: int = 0,
    exposed: int = 0,
    save_flips: bool = False,
) -> tuple[PlannedCell, ...]:
    """Every cell of a run: of the target, then of each of `trainings` models that its recipe trains anew.

    Raises:
        ConfigError: there is none: nothing would be measured, and nothing may pass for that. Or the target cannot be
            trained anew.
    """
    how: dict[str, Any] = {"profile": profile, "side": side, "save_flips": save_flips}
    cells = plan(target, requests, seeds=seeds, exposed=exposed, **how)
    if not cells:
        raise ConfigError(f"no probe of this choice is about {target.name}; loosen only, skip, family or profile.")
    if trainings and target.recipe is None:
        raise ConfigError(
            f"training_seeds is {trainings}, and {target.name} cannot be trained anew. Give [target.train] and a "
            "factory (or build= and recipe=), or leave it out."
        )
    own = None if target.recipe is None else target.recipe.describe().get("seed")
    new = (seed for seed in count() if seed != own)  # that one would train the target itself again
    for seed in islice(new, trainings):
        cells += plan(target, requests, seeds=(seed,), arm=RECIPE, **how)
    return cells


def plan_compare(
    target: Target,
    arms: Sequence[str],
    requests: Sequence[ProbeRequest],
    *,
    seeds: Sequence[int],
    profile: Profile,
    side: SideKnowledge,
    group: str = "",
) -> tuple[PlannedCell, ...]:
    """Every cell of a comparison: each defence fitted at each seed, each arm probed, each tried with everybody's edits.

    What a defended model can be asked is known once it is there: until then no cell of its arm is skipped.

    Raises:
        ConfigError: the target is defended already.
        SplitError: it has no split.
    """
    target.need_split()
    if target.defense is not None:
        raise ConfigError(
            f"{target.name} is defended by {target.defense.spec} already; a comparison fits every defence from an "
            'undefended target. Give that one; "auditor run" audits this one as it is.'
        )
    order = [(arm, seed) for seed in seeds for arm in arms]
    about = (target.digest, target.graph.digest())

    def step(spec: str, arm: str, seed: int, *words: object) -> PlannedCell:
        key = _digest((spec, *about, _maker(arm, group), seed, *words))
        return PlannedCell(spec=spec, seed=seed, profile=profile, key=key, arm=arm, step_s=STEP_S)

    fits = [step(FIT, arm, seed) for arm, seed in order if arm != NONE]
    cells = [
        cell if arm == NONE else cell.model_copy(update={"skip": ""})
        for arm, seed in order
        for cell in plan(target, requests, seeds=(seed,), profile=profile, side=side, arm=arm, group=group)
    ]
    found_by = [cell.key for cell in cells]  # edits that another plan finds are other edits
    return (*fits, *cells, *(step(GAIN, arm, seed, profile, *found_by) for arm, seed in order))


def usable_attacks(
    target: Target, probe: ProbeEntry, given: Mapping[str, str]
) -> tuple[tuple[Registered, ...], dict[str, str]]:
    """`build_attacks`, without the attacks that need what the target does not offer."""
    attacks, params = build_attacks(probe, given)
    return tuple(attack for attack in attacks if attack.needs <= target.capabilities), params


def build_attacks(probe: ProbeEntry, given: Mapping[str, str]) -> tuple[tuple[Registered, ...], dict[str, str]]:
    """The attacks of a probe with the user's parameters, and the parameters that the harness takes.

    A parameter goes to everyone who declares it: the harness's `Settings` and each attack's own fields.

    Raises:
        ConfigError: nobody declares it (nearest name offered), or its value has the wrong type.
    """
    from auditor.probe import Registered

    entries = registry.attacks_of(probe.id)
    classes = [entry.load() for entry in entries]
    settings = importlib.import_module(probe.evaluation.partition(":")[0]).Settings
    declared = {f.name for kind in (settings, *classes) for f in dataclasses.fields(kind)}
    for key in given:
        if key.replace("-", "_") not in declared:
            words = (name.replace("_", "-") for name in declared)
            raise ConfigError(f'{probe.id} has no parameter "{key}". {nearest(key.replace("_", "-"), words)}')

    harness = meant_for(settings, given)
    build(settings, harness, owner=probe.id)
    made = [build(kind, meant_for(kind, given), owner=probe.id) for kind in classes]
    return tuple(Registered(entry, attack) for entry, attack in zip(entries, made, strict=True)), harness


def on_model(cell: PlannedCell, model: Target) -> PlannedCell:
    """The cell as it is on that model: what the model lacks for it is known now."""
    skip, lacks = _reason_to_skip(model, cell.entry, build_attacks(cell.entry, cell.params)[0])
    return cell.model_copy(update={"skip": skip, "lacks": lacks})


def _reason_to_skip(target: Target, probe: ProbeEntry, attacks: Sequence[Registered]) -> tuple[str, tuple[str, ...]]:
    """Why the probe cannot run here and which capabilities are lacking, or nothing.

    Where none of its searches can run (of a probe without any: none of its heuristics), the rest would only say how
    well a fixed rule or a control does: that is no audit, and the probe is skipped.
    """
    if target.task.level not in probe.tasks:
        return (
            f"made for {' and '.join(probe.tasks)} classifiers; {target.name} classifies {target.task.level}s"
            f"{'. ' * bool(probe.elsewhere)}{probe.elsewhere}",
            (),
        )
    if probe.extra is not None and importlib.util.find_spec(probe.extra[0]) is None:
        return f"needs {probe.extra[1]}, which is not installed; run: pip install {probe.extra[1]}", ()
    if not attacks:  # its harness needs none
        return "", ()
    searches = [attack for attack in attacks if attack.entry.role == "search"]
    leading = searches or [attack for attack in attacks if attack.entry.role == "heuristic"]
    offered_or_not_asked = target.capabilities | set(probe.may_lack)
    if any(attack.needs <= offered_or_not_asked for attack in leading):
        return "", ()
    offered = ", ".join(sorted(target.capabilities)) or "nothing"
    if not leading:
        return f"needs an attack that is no control; {target.name} offers {offered}", ()
    lacking = [tuple(sorted(attack.needs - target.capabilities)) for attack in leading]
    lacks: tuple[str, ...] = min(lacking, key=len)
    told = [lack_of(name) for name in lacks]
    known = "" if all(name in LACKING for name in lacks) else f"; {target.name} offers {offered}"
    return f"needs {', '.join(told)}{known}", lacks


def _cell_key(
    target: Target,
    data: str,
    request: ProbeRequest,
    seed: int,
    profile: Profile,
    side: SideKnowledge,
    maker: str,
    exposed: int,
    save_flips: bool,
) -> str:
    words: dict[str, object] = {
        "target": target.digest,
        "data": data,
        "arm": maker,
        "probe": request.spec,
        "version": request.entry.version,
        "profile": profile,
        "seed": seed,
        "side": dataclasses.asdict(side),
        **({"exposed": exposed} if exposed else {}),
        **({"save_flips": True} if save_flips else {}),
    }
    named = [part for value in request.params.values() for part in {value, *value.split(os.pathsep)}]
    if files := sorted(Path(part) for part in named if os.path.isfile(part)):
        words["files"] = digest_files(files)  # a file of that name with another content is another question
    return _digest(sorted(words.items()))


def _maker(arm: str, group: str) -> str:
    """What identifies how an arm's model is made."""
    if arm in (NONE, RECIPE):
        return arm
    return f"{arm} {registry.find('defenses', registry.parse_spec(arm)[0]).load().version} {group}"


def _digest(words: object) -> str:
    return hashlib.sha256(repr(words).encode()).hexdigest()
