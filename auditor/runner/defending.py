"""Defences by name: parsed, fitted, saved by others, and rebuilt when a defended target is loaded."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from auditor import registry
from auditor.errors import ConfigError, LoadError, SkippedError
from auditor.probe import Defense, DefenseTask, TrainedModels, read_settings, spec_of
from auditor.targets.load import load_target
from auditor.targets.target import Target

NONE = "none"


@dataclass(frozen=True, slots=True)
class DefenseRequest:
    """One defence as the user named it.

    Attributes:
        spec: `id:key=value,…` in canonical form: keys sorted.
        defense: the object; None for `none`.
        control_of: the defence that brought it along as a control; empty for one asked for by name.
    """

    spec: str
    defense: Defense | None
    control_of: str = ""


def make_defense(text: str) -> Defense:
    """The defence that `id:key=value,…` names.

    Raises:
        ConfigError: unknown id or parameter (nearest name offered), or a value of the wrong type.
    """
    id_, params = registry.parse_spec(text)
    return read_settings(registry.find("defenses", id_).load(), params, owner=id_)  # type: ignore[no-any-return]


def with_controls(texts: list[str]) -> tuple[DefenseRequest, ...]:
    """`none`, every defence asked for, then the controls each of them brings along; nothing twice.

    Raises:
        ConfigError: none was asked for, or one is wrong.
    """
    if not texts:
        raise ConfigError('no defence was named; give --defense ID, "auditor list defenses" shows them.')
    made = [make_defense(text) for text in texts if text != NONE]
    asked = [DefenseRequest(spec_of(defense), defense) for defense in made]
    found = {NONE: DefenseRequest(NONE, None)}
    for request in asked:
        found.setdefault(request.spec, request)
    for request in asked:
        assert request.defense is not None
        for control in request.defense.controls():
            defense = make_defense(control)
            found.setdefault(spec_of(defense), DefenseRequest(spec_of(defense), defense, control_of=request.spec))
    return tuple(found.values())


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
) -> Target:
    """The target under the defence.

    Raises:
        SkippedError: the defence does not apply here.
    """
    if target.task not in defense.tasks:
        raise SkippedError(f"{defense.id} defends {' and '.join(defense.tasks)} classifiers; this one is {target.task}")
    missing = sorted(defense.needs - target.capabilities)
    if missing:
        raise SkippedError(f"{defense.id} needs {', '.join(missing)}; {target.name} lacks it")
    return defense.fit(target, DefenseTask(seed, models, group, tick))


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
        return defense.wrap(base, tensors, DefenseTask(table.get("seed", 0), models))

    return load_target(path, wrap=wrap, **options)
