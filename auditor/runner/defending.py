"""Defences by name: parsed, fitted, saved by others, and rebuilt when a defended target is loaded."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from auditor import registry
from auditor.errors import ConfigError, LoadError, SkippedError
from auditor.evaluate.dp_claim.static import account_of
from auditor.guarantee import FILE_NAME as GUARANTEE
from auditor.guarantee import read_guarantee
from auditor.mechanism import PrivateDefense
from auditor.probe import Defense, DefenseTask, Profile, ServesInModes, TrainedModels, read_settings, spec_of
from auditor.targets.load import load_target
from auditor.targets.target import Target
from auditor.targets.weights import read_bytes

NONE = "none"
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


def make_defense(text: str) -> Defense:
    """The defence that `id:key=value,…` names.

    Raises:
        ConfigError: unknown id or parameter (nearest name offered), or a value of the wrong type.
    """
    id_, params = registry.parse_spec(text)
    return read_settings(registry.find("defenses", id_).load(), params, owner=id_)  # type: ignore[no-any-return]


def with_controls(texts: list[str], profile: Profile = "standard") -> tuple[DefenseRequest, ...]:
    """`none`, every defence asked for, its other modes, then the controls each of them brings along; nothing twice.

    Raises:
        ConfigError: none was asked for, or one is wrong.
    """
    if not texts:
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
    return defense.fit(target, task)


def check_applies(target: Target, defense: Defense, task: DefenseTask) -> None:
    """Raises SkippedError where the defence is for another kind of target, or this one lacks what it needs."""
    if target.task not in defense.tasks:
        if isinstance(defense, PrivateDefense):
            defense.planned(target, task)  # its own refusal says what such a claim would be worth
        raise SkippedError(f"{defense.id} defends {' and '.join(defense.tasks)} classifiers; this one is {target.task}")
    missing = sorted(defense.needs - target.capabilities)
    if missing:
        raise SkippedError(f"{defense.id} needs {', '.join(missing)}; {target.name} lacks it")


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
        target = defense.wrap(base, tensors, DefenseTask(table.get("seed", 0), models))
        return _with_guarantee(target, folder / GUARANTEE)

    folder = path if path.is_dir() else path.parent
    return load_target(path, wrap=wrap, **options)


def _with_guarantee(target: Target, path: Path) -> Target:
    """The defended target with the Guarantee that lies beside it, its epsilon recomputed from its own record.

    Raises:
        LoadError: the file states an epsilon that its mechanism does not have, or values that no mechanism has.
    """
    if not path.is_file() or target.defense is None:
        return target
    found = read_guarantee(read_bytes(path))
    try:
        account = account_of(found, found.delta)
    except ConfigError as error:
        raise LoadError(f"{GUARANTEE}: {error} Fit the defence again.") from None
    if account is not None and account.refutes(found.epsilon):
        raise LoadError(
            f"{GUARANTEE} states epsilon = {found.epsilon:.4g}; its own mechanism ({account.words}) costs "
            f"{account.epsilon:.4g} at delta = {found.delta:g}. The file was changed: restore it, or fit "
            "the defence again."
        )
    if account is None:
        found = found.model_copy(update={"caveats": (*found.caveats, NOT_RECOMPUTED)})
    return replace(target, defense=replace(target.defense, guarantee=found), _clean={})
