"""Parameters that would be ignored: one that can change nothing about the target at hand is refused before it runs."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from auditor.errors import ConfigError, SkippedError
from auditor.parameters import Circumstances, Only, build, dashed, meant_for, shown, where_it_counts
from auditor.registry import ProbeEntry, Profile

if TYPE_CHECKING:
    from auditor.probe import Registered
    from auditor.targets.target import Target

LEAVE = "Leave it out"


def refuse_idle(
    target: Target, probe: ProbeEntry, attacks: Sequence[Registered], given: Mapping[str, str], profile: Profile
) -> None:
    """Makes sure that each parameter which the user set can change something here.

    A parameter may be declared by the harness and by several attacks; it counts where it counts for one of them. A
    harness whose own parameters or whose profile leave attacks out says which in `idle`, with the reason.

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
    idle: Mapping[str, str] = harness.idle(attacks, profile) if hasattr(harness, "idle") else {}
    parts = ((harness, ""), *((each.attack, idle.get(each.id, "")) for each in attacks))
    granted = dict[str, str]()
    for each in sorted(attacks, key=lambda attack: attack.id not in idle):  # those that run have the last word
        granted |= dict.fromkeys(map(str, each.access), idle.get(each.id, ""))
    for key, text in given.items():
        name, found = key.replace("-", "_"), list[str]()
        for part, left_out in parts:
            if name in type(part).__dataclass_fields__:
                every = (*(each for each, _ in parts), part)
                values = {f.name: getattr(each, f.name) for each in every for f in dataclasses.fields(each)}
                here = Circumstances(target, values, profile)
                why = (_unmet(only, here, granted) for only in where_it_counts(type(part), name))
                found.append(left_out or next(filter(None, why), ""))
        if found and all(found):
            raise ConfigError(f"{probe.id}: {dashed(name)}={text} would change nothing: {found[0]}.")


def _unmet(only: Only, here: Circumstances, granted: Mapping[str, str]) -> str:
    """Why a condition of a parameter does not hold, and how to go on; empty where it does.

    `granted`: what attacks of the probe are granted, and why none of these runs; empty where one does.
    """
    target = here.target
    level = target.task.level
    if only.level and level != only.level:
        return f"it is for targets that classify {only.level}s, and {target.name} classifies {level}s. {LEAVE}"
    if only.features and (kind := _kind(target)) and kind not in only.features:
        return f"it is for features that are {' or '.join(only.features)}, and those here are {kind}. {LEAVE}"
    if only.access and only.access not in granted:
        return f"it is for attacks that are granted {only.access}, and none of this probe is. {LEAVE}"
    if only.access and granted[only.access]:
        return granted[only.access]
    if only.unless is not None and (why := only.unless(here)):
        return f"{why}. {LEAVE}"
    if only.beside and here.profile != only.always_in:
        value = here.values[only.beside]
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
