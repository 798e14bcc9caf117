"""Defences by name: parsed, fitted, saved by others, and rebuilt when a defended target is loaded."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from auditor import registry
from auditor.compare.gain import ArmScores
from auditor.defense import Defense, DefenseTask, HasEffect, ServesInModes, TrainedModels
from auditor.document import NONE
from auditor.errors import ConfigError, LoadError, SkippedError
from auditor.evaluate.dp_claim.static import TOLERANCE, account_of
from auditor.guarantee import FILE_NAME as GUARANTEE
from auditor.guarantee import Guarantee, read_guarantee
from auditor.mechanism import PrivateDefense
from auditor.parameters import build, spec_of
from auditor.registry import Profile, Reference, lack_of
from auditor.targets.load import load_target
from auditor.targets.tag import DefenseTag, Made
from auditor.targets.target import Target
from auditor.targets.weights import read_bytes

SHOWN = 80
NOT_RECOMPUTED = "epsilon could not be recomputed from this record"


@dataclass(frozen=True, slots=True)
class DefenseRequest:
    """One defence as the user named it.

    Attributes:
        spec: `id:key=value,…` in canonical form: keys sorted.
        defense: the object; None for `none`.
        control_of: the defence that brought it along as a control; empty for one asked for by name.
        modes: specs that serve the same fit in other ways, where nobody said how it is served.
    """

    spec: str
    defense: Defense | None
    control_of: str = ""
    modes: tuple[str, ...] = ()

    @property
    def effect(self) -> str | None:
        """Of a reweighting the finding of its effect, empty where that is shown alone; None for any other defence."""
        return self.defense.effect if isinstance(self.defense, HasEffect) else None


@dataclass(slots=True)
class Arms:
    """What one comparison has made so far, by (defence spec, seed): models, why there is none, fit seconds, scores."""

    targets: dict[tuple[str, int], Made] = field(default_factory=dict)
    reasons: dict[tuple[str, int], tuple[Literal["skipped", "error"], str]] = field(default_factory=dict)
    seconds: dict[tuple[str, int], float] = field(default_factory=dict)
    scores: dict[tuple[str, int], ArmScores] = field(default_factory=dict)

    def tag(self, spec: str) -> DefenseTag | None:
        """What the first fit of a defence says of itself; None for `none`, and where there is no fit."""
        return next((target.defense for (own, _), target in self.targets.items() if own == spec), None)

    def starts_trained(self, spec: str) -> bool:
        """Whether it is the trained model or made from it, so that another seed is no new training."""
        tag = self.tag(spec)
        return spec == NONE or (tag is not None and tag.starts_trained)


def make_defense(text: str) -> Defense:
    """The defence that `id:key=value,…` names.

    Raises:
        ConfigError: unknown id or parameter (nearest name offered), or a value of the wrong type.
    """
    id_, params = registry.parse_spec(text)
    return build(registry.find("defenses", id_).load(), params, owner=id_)  # type: ignore[no-any-return]


def with_controls(texts: list[str], profile: Profile = "standard") -> tuple[DefenseRequest, ...]:
    """`none`, every defence asked for, its other modes, then the controls each of them brings along; nothing twice.

    Raises:
        ConfigError: none was asked for, or one is wrong.
    """
    if all(text == NONE for text in texts):
        raise ConfigError('no defence was named; give --defense ID, "auditor list defenses" shows them.')
    found = {NONE: DefenseRequest(NONE, None)}
    for text in texts:
        if text != NONE:
            defense = make_defense(text)
            request = DefenseRequest(spec_of(defense), defense, modes=_open_modes(text, profile))
            found.setdefault(request.spec, request)
    for request in list(found.values()):
        for mode in request.modes:
            found.setdefault(mode, DefenseRequest(mode, make_defense(mode)))
    for request in list(found.values()):
        for control in () if request.defense is None else request.defense.controls():
            defense = make_defense(control)
            found.setdefault(spec_of(defense), DefenseRequest(spec_of(defense), defense, control_of=request.spec))
    return tuple(found.values())


def _open_modes(text: str, profile: Profile) -> tuple[str, ...]:
    """The other modes of a defence whose text does not say how it is served."""
    defense = make_defense(text)
    named = {key.replace("-", "_") for key in registry.parse_spec(text)[1]}
    if not isinstance(defense, ServesInModes) or defense.mode_parameter in named:
        return ()
    return tuple(spec_of(make_defense(mode)) for mode in defense.modes(profile))


def controls_of(request: DefenseRequest, among: Collection[DefenseRequest]) -> list[str]:
    """Specs of the controls that a defence has and that take part, in its own order; `none` has none."""
    if request.defense is None:
        return []
    known = {other.spec for other in among}
    wanted = [spec_of(make_defense(text)) for text in request.defense.controls()]
    return [spec for spec in wanted if spec in known]


def reference_of(spec: str) -> Reference:
    """Which reference a defence is by its registry line; empty for any other, and for `none`."""
    line = registry.entries("defenses").get(registry.parse_spec(spec)[0])
    return "" if line is None else line.reference


def fit_defended(
    target: Target,
    defense: Defense,
    *,
    seed: int,
    models: TrainedModels,
    group: Tensor | None = None,
    tick: Callable[[float | None, str], None] = lambda _fraction, _note: None,
    release: bool = False,
    noise_scale: float = 1.0,
) -> Target:
    """The target under the defence; with `release`, privacy noise is drawn from the operating system and not recorded.

    Raises:
        SkippedError: the defence does not apply here.
    """
    task = DefenseTask(seed, models, group, tick, release, noise_scale)
    check_applies(target, defense, task)
    return replace(defense.fit(target, task), base=target)


def check_applies(target: Target, defense: Defense, task: DefenseTask) -> None:
    """Raises SkippedError where the defence is for another kind of target, or this one lacks what it needs."""
    line = registry.find("defenses", defense.id)
    if target.task.level not in line.tasks:
        if isinstance(defense, PrivateDefense):
            defense.planned(target, task)  # its own refusal says what such a claim would be worth
        raise SkippedError(
            f"{defense.id} defends {' and '.join(line.tasks)} classifiers; this one is {target.task.level}"
        )
    missing = sorted(set(line.needs) - target.capabilities)
    if missing:
        raise SkippedError(f"{defense.id} needs {', '.join(map(lack_of, missing))}; {target.name} lacks it")


def load_any(path: Path, *, models: TrainedModels, **options: Any) -> Target:
    """`load_target`, defended targets included: the registered defence wraps the saved tensors.

    Raises:
        LoadError: the `[defense]` table names an unknown defence or another version of it.
    """

    def wrap(base: Target, table: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Target:
        unknown = sorted(set(table) - {"id", "version", "seed", "base"})
        if unknown or not isinstance(table.get("id"), str) or not isinstance(table.get("seed", 0), int):
            raise LoadError(
                f"[defense] is malformed ({', '.join(unknown) or 'id, seed'}); expected id, version, seed, base."
            )
        try:
            defense = make_defense(table["id"])
        except ConfigError as error:
            raise LoadError(f"[defense] id: {error}") from None
        if str(table.get("version")) != defense.version:
            raise LoadError(
                f"[defense] version is {table.get('version')}; this auditor has {defense.id} version "
                f"{defense.version}. Fit the defence again, or use the auditor that saved it."
            )
        target = replace(defense.wrap(base, tensors, DefenseTask(table.get("seed", 0), models)), base=base)
        return _with_guarantee(target, base, defense, folder / GUARANTEE, models)

    folder = path if path.is_dir() else path.parent
    target = load_target(path, wrap=wrap, **options)
    if target.defense is None and (folder / GUARANTEE).is_file():
        raise LoadError(f"{GUARANTEE} lies beside a target that no [defense] table defends. Remove the file.")
    return target


def _with_guarantee(target: Target, base: Target, defense: Defense, path: Path, models: TrainedModels) -> Target:
    """The defended target with the Guarantee that its `[defense]` table makes on its data; the file must say the same.

    Raises:
        LoadError: the file is missing, lies beside a defence that promises nothing, or promises something else.
    """
    spec = spec_of(defense)
    if not isinstance(defense, PrivateDefense):
        if path.is_file():
            raise LoadError(f"{GUARANTEE} lies beside {spec}, which promises no differential privacy. Remove the file.")
        return target
    if not path.is_file():
        raise LoadError(f"{GUARANTEE} is missing beside {spec}; expected it. Restore it, or fit the defence again.")
    found = read_guarantee(read_bytes(path))
    task = DefenseTask(0, models, release=found.noise_seed == "secret")
    try:
        own = defense.planned(base, task)
        account = account_of(own, own.delta)
    except (SkippedError, ConfigError) as error:
        raise LoadError(f"[defense] {spec} promises nothing on this data: {error}") from None
    difference = _difference(found, own)
    if difference:
        raise LoadError(
            f"{GUARANTEE} states {difference}, which is what {spec} promises on this data. A file was changed, or "
            "belongs to another model: restore it, or fit the defence again."
        )
    if account is None:
        own = own.model_copy(update={"caveats": (*own.caveats, NOT_RECOMPUTED)})
    assert target.defense is not None
    return replace(target, defense=replace(target.defense, guarantee=own))


def _difference(found: Guarantee, own: Guarantee) -> str:
    """`name = found; expected own` of the first value that differs by more than an accountant errs; empty if none."""
    for name in ("level", "relation", "epsilon", "delta", "accountant", "units", "covers", "not_protected"):
        stated, expected = getattr(found, name), getattr(own, name)
        if not _alike(stated, expected):
            return f"{name} = {_short(stated)}; expected {expected}"
    for key in sorted({*found.mechanism, *own.mechanism}):
        stated, expected = found.mechanism.get(key), own.mechanism.get(key)
        if not _alike(stated, expected):
            return f"mechanism.{_short(key)} = {_short(stated)}; expected {expected}"
    return ""


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def _alike(stated: Any, expected: Any) -> bool:
    if isinstance(stated, tuple) and isinstance(expected, tuple):
        return set(stated) == set(expected)
    if isinstance(stated, float) and isinstance(expected, float | int):
        return math.isclose(stated, expected, rel_tol=TOLERANCE)
    return bool(stated == expected)
