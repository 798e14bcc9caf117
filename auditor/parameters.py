"""Parameters of attacks, defences and harnesses: declared as types, checked by pydantic, written as `key=value`."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, dataclass_transform, get_type_hints

import pydantic
from pydantic import ConfigDict, ValidationError
from pydantic.dataclasses import dataclass as checked

from auditor.errors import ConfigError, expected, nearest
from auditor.registry import LARGEST, Profile, canonical_spec

S = TypeVar("S")
_CONFIG = ConfigDict(allow_inf_nan=False, arbitrary_types_allowed=True)


@dataclass(frozen=True, slots=True, eq=False)
class Circumstances:
    """What a parameter stands beside.

    Attributes:
        target: under audit.
        values: of every parameter of the probe, by name; those that were not given are the defaults.
        profile: of the run.
    """

    target: Any
    values: Mapping[str, Any]
    profile: Profile


@dataclass(frozen=True, slots=True)
class Only:
    """Where a parameter can change anything; stands in its annotation: `graphs: Annotated[int, Only(level="graph")]`.

    A plan refuses the parameter of whoever sets it elsewhere: it would be ignored. All conditions must hold.

    Attributes:
        level: what the target classifies: `node` or `graph`; empty for both.
        features: kinds of features (`auditor.data.feature_space.Kind`); empty for every kind.
        access: what an attack of the probe must be granted (`auditor.registry.Access`); empty for anything.
        beside: name of another parameter of the same class, or of another part of the probe; empty for none.
        being: values of it, one of which it must have, or hold where it is a list; one left empty is by the profile.
        always_in: a profile in which `beside` does not matter.
        unless: why it changes nothing in these circumstances, or nothing; None for no such condition.
    """

    level: str = ""
    features: tuple[str, ...] = ()
    access: str = ""
    beside: str = ""
    being: tuple[Any, ...] = ()
    always_in: str = ""
    unless: Callable[[Circumstances], str] | None = None


@dataclass_transform(frozen_default=True, field_specifiers=(dataclasses.field, pydantic.Field))
def parameters(cls: type[S]) -> type[S]:
    """A frozen dataclass whose fields are checked against their types on construction.

    Raises:
        pydantic.ValidationError: from its constructor; `build` turns it into a ConfigError.
    """
    return checked(frozen=True, slots=True, config=_CONFIG)(cls)  # type: ignore[return-value]  # still an S


def build(kind: type[S], params: Mapping[str, str], *, owner: str) -> S:
    """An object of `kind` from `key=value` words.

    A list inside a value is written with slashes (`eps=0.01/0.05`) and lands in a tuple field.

    Args:
        kind: a class made by `parameters`.
        params: words as the user wrote them; a dash in a key stands for an underscore.
        owner: whose parameters they are, for the message.

    Raises:
        ConfigError: unknown key (nearest name offered), one given twice or missing, or a value of the wrong type, out
            of range, twice in a list or larger than anything could take.
    """
    known = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]  # made by `parameters`
    values: dict[str, Any] = {}
    for key, text in params.items():
        name = key.replace("-", "_")
        if name not in known:
            raise ConfigError(f'{owner} has no parameter "{key}". {nearest(dashed(name), map(dashed, known))}')
        if name in values:
            raise ConfigError(f"{owner}: {dashed(name)} is given twice; leave one out.")
        values[name] = tuple(text.split("/")) if isinstance(known[name].default, tuple) else text
    try:
        made = kind(**values)
    except ValidationError as error:
        raise ConfigError(_message(error, known, owner)) from None
    for name in values:
        held = getattr(made, name)
        several = held if isinstance(held, tuple) else (held,)
        if len(set(several)) < len(several) and not _repeats(known[name].default):
            raise ConfigError(f"{owner}: {dashed(name)}={shown(held)} names a value twice; leave one out.")
        for each in several:
            if isinstance(each, int) and abs(each) > LARGEST:
                wanted = f"at most {LARGEST:,}" if each > 0 else f"a number from −{LARGEST:,} to {LARGEST:,}"
                raise ConfigError(f"{owner}: {dashed(name)}={each} cannot be used: expected {wanted}.")
    return made


def _repeats(default: object) -> bool:
    """Whether places count in a list, so that one value may stand at several: its default says so."""
    return isinstance(default, tuple) and len(set(default)) < len(default)


def meant_for(kind: type, params: Mapping[str, str]) -> dict[str, str]:
    """Those of a probe's parameters that a class of parameters declares; the others are for its other parts."""
    names = {field.name for field in dataclasses.fields(kind)}
    return {key: value for key, value in params.items() if key.replace("-", "_") in names}


def where_it_counts(kind: type, name: str) -> tuple[Only, ...]:
    """The conditions in the annotation of a parameter, all of which must hold; none where it always counts."""
    hint = get_type_hints(kind, include_extras=True)[name]
    return tuple(each for each in getattr(hint, "__metadata__", ()) if isinstance(each, Only))


def spec_of(method: Any) -> str:
    """A method (made by `parameters`, with an `id`) in canonical form: every parameter that is not its default."""
    own = {}
    for f in dataclasses.fields(method):
        value = getattr(method, f.name)
        if value != f.default:
            own[dashed(f.name)] = str(value).lower() if isinstance(value, bool) else str(value)
    return canonical_spec(method.id, own)


def _message(error: ValidationError, known: Mapping[str, Any], owner: str) -> str:
    """What came, what was expected and the default, for the first thing that is wrong."""
    problems = error.errors()
    first = problems[0]
    if not first["loc"]:
        return f"{owner}: {expected(first).rstrip('.')}."
    name, given = str(first["loc"][0]), first["input"]
    if first["type"] == "missing":
        return f"{owner} needs {dashed(name)}=…, which has no default."
    # A value may be of several types; each of them has said why it is not.
    mine = [each for each in problems if each["loc"][0] == name and each["input"] == given]
    wanted = " or ".join(dict.fromkeys(map(expected, mine))).replace(" or expected", " or")
    parts = [f"{owner}: {dashed(name)}={given} cannot be used: {wanted.rstrip('.')}."]
    words = [word for each in mine if each["type"] == "literal_error" for word in _words(each)]
    if words:
        parts.append(nearest(str(given), words, listed=True))
    if (default := known[name].default) is not dataclasses.MISSING and default is not None:  # None is by the profile
        parts.append(f"The default is {shown(default)}.")
    return " ".join(filter(None, parts))


def _words(problem: Any) -> list[str]:
    """The words that a `Literal` allows."""
    return [word.strip(" '") for word in str(problem["ctx"]["expected"]).replace(" or ", ", ").split(",")]


def dashed(name: str) -> str:
    """A parameter as users write it."""
    return name.replace("_", "-")


def shown(value: object) -> str:
    """A value as users write it."""
    if isinstance(value, tuple):
        return "/".join(map(str, value)) or "empty"
    return str(value).lower() if isinstance(value, bool) else str(value)
