"""Parameters that would be ignored: one that can change nothing about the target at hand is refused before it runs."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from auditor.errors import ConfigError, SkippedError
from auditor.parameters import Only, build, dashed, meant_for, shown, where_it_counts
from auditor.registry import ProbeEntry

if TYPE_CHECKING:
    from auditor.probe import Registered
    from auditor.targets.target import Target

LEAVE = "Leave it out"


def refuse_idle(
    target: Target, probe: ProbeEntry, attacks: Sequence[Registered], given: Mapping[str, str], profile: str
) -> None:
    """Makes sure that each parameter which the user set can change something here.

    A parameter may be declared by the harness and by several attacks; it counts where it counts for one of them. A
    harness whose own parameters leave attacks out says of which roles in `idle`, with the reason.

    Args:
        target: under audit.
        probe: asked for.
        attacks: its attacks, with the user's parameters.
        given: parameters as the user wrote them.
        profile: of the run.

    Raises:
        ConfigError: one would be ignored.
    """
    if not given or target.task.level not in probe.tasks:
        return  # the row says that the probe is for another kind of target
    settings = importlib.import_module(probe.evaluation.partition(":")[0]).Settings
    harness = build(settings, meant_for(settings, given), owner=probe.id)
    granted = {str(word) for each in attacks for word in each.access}
    idle: Mapping[str, str] = getattr(harness, "idle", {})
    parts = ((harness, ""), *((each.attack, idle.get(each.entry.role, "")) for each in attacks))
    for key, text in given.items():
        name, found = key.replace("-", "_"), list[str]()
        for part, left_out in parts:
            if name in type(part).__dataclass_fields__:
                every = (*(each for each, _ in parts), part)
                values = {f.name: getattr(each, f.name) for each in every for f in dataclasses.fields(each)}
                why = (_unmet(target, only, values, granted, profile) for only in where_it_counts(type(part), name))
                found.append(left_out or next(filter(None, why), ""))
        if found and all(found):
            raise ConfigError(f"{probe.id}: {dashed(name)}={text} would change nothing: {found[0]}.")


def _unmet(target: Target, only: Only, values: Mapping[str, Any], granted: set[str], profile: str) -> str:
    """Why a condition of a parameter does not hold, and how to go on; empty where it does."""
    level = target.task.level
    if only.level and level != only.level:
        return f"it is for targets that classify {only.level}s, and {target.name} classifies {level}s. {LEAVE}"
    if only.features and (kind := _kind(target)) and kind not in only.features:
        return f"it is for features that are {' or '.join(only.features)}, and those here are {kind}. {LEAVE}"
    if only.access and only.access not in granted:
        return f"it is for attacks that are granted {only.access}, and none of this probe is. {LEAVE}"
    if only.unless is not None and (why := only.unless(target)):
        return f"{why}. {LEAVE}"
    if only.beside and profile != only.always_in and not (only.always_for and only.always_for(target)):
        value = values[only.beside]
        if value not in only.being and not (isinstance(value, tuple) and (not value or set(value) & set(only.being))):
            other, wanted = dashed(only.beside), " or ".join(filter(None, map(shown, only.being)))
            if not wanted:
                return f"{other}={shown(value)} takes its place. Leave one of them out"
            return f"it is for {other}={wanted}, and {other} is {shown(value)}. {LEAVE}, or change {other}"
    return ""


def _kind(target: Target) -> str:
    """What an edit of the features is; empty where they cannot be edited, which the row of the probe says."""
    from auditor.data.feature_space import FeatureSpace

    try:
        return FeatureSpace.of(target.graph.x).kind
    except SkippedError:
        return ""
