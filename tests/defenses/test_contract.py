"""What every registered defence owes, whoever wrote it: one list, walked over."""

from __future__ import annotations

import dataclasses

import pytest
from pydantic import ValidationError

from auditor import registry
from auditor.cli.pages import page
from auditor.defense import Defense, ServesInModes
from auditor.errors import ConfigError
from auditor.mechanism import PrivateDefense
from auditor.parameters import build, spec_of

DEFENSES = registry.entries("defenses")
GIVEN = {"coarse-outputs": {"digits": "1"}}
"""What must be said of a defence that is nothing by itself."""


def made(id_: str) -> Defense:
    """The defence with as little said as may be."""
    return build(DEFENSES[id_].load(), GIVEN.get(id_, {}), owner=id_)


@pytest.mark.parametrize("id_", DEFENSES)
def test_the_registry_line_and_the_class_agree(id_: str) -> None:
    entry = DEFENSES[id_]
    kind = entry.load()
    assert kind.id == id_
    assert isinstance(made(id_), Defense)
    assert spec_of(made(id_)) == registry.canonical_spec(id_, GIVEN.get(id_, {}))
    assert entry.tasks
    for word in ("needs", "access", "tasks"):
        assert not hasattr(kind, word), f"{word} is declared once, on the registry line"


@pytest.mark.parametrize("id_", DEFENSES)
def test_controls_are_registered_and_named_on_the_line(id_: str) -> None:
    entry = DEFENSES[id_]
    for text in made(id_).controls():
        control, params = registry.parse_spec(text)
        assert control in entry.controls
        other = build(registry.find("defenses", control).load(), params, owner=control)
        assert spec_of(other) != id_, "a control lacks the idea: it is another defence"


@pytest.mark.parametrize("id_", DEFENSES)
def test_parameters_are_checked_on_construction(id_: str) -> None:
    kind = DEFENSES[id_].load()
    assert dataclasses.is_dataclass(kind)
    with pytest.raises(ConfigError, match="no parameter"):
        build(kind, {"nothing-of-the-kind": "1"}, owner=id_)
    defense = made(id_)
    for field in dataclasses.fields(kind):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(defense, field.name, getattr(defense, field.name))
        if isinstance(field.default, bool | int | float):
            with pytest.raises((ValidationError, ConfigError)):
                kind(**{field.name: "no number"})


@pytest.mark.parametrize("id_", DEFENSES)
def test_specs_are_canonical(id_: str) -> None:
    for text in (spec_of(made(id_)), *made(id_).controls()):
        name, params = registry.parse_spec(text)
        first = spec_of(build(registry.find("defenses", name).load(), params, owner=name))
        name, params = registry.parse_spec(first)
        assert spec_of(build(registry.find("defenses", name).load(), params, owner=name)) == first


@pytest.mark.parametrize("id_", DEFENSES)
def test_private_defences_say_what_an_audit_may_see(id_: str) -> None:
    kind, defense = DEFENSES[id_].load(), made(id_)
    if isinstance(defense, PrivateDefense):
        assert defense.level in ("graph", "edge", "node")
        assert set(defense.releases) <= {"released", "mechanism", "posteriors"}
    if isinstance(defense, ServesInModes):
        assert defense.mode_parameter in {field.name for field in dataclasses.fields(kind)}


@pytest.mark.parametrize("id_", DEFENSES)
def test_there_is_a_page(id_: str) -> None:
    assert page("defenses", id_)
