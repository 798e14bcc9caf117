"""Parameters from `key=value` words: what is read, what is refused, and in which words."""

from __future__ import annotations

import dataclasses
from typing import Annotated, ClassVar, Literal

import pytest
from pydantic import Field, ValidationError, model_validator

from auditor import registry
from auditor.errors import ConfigError
from auditor.parameters import build, parameters, spec_of


@parameters
class Method:
    """One parameter of each kind."""

    draws: Annotated[int, Field(ge=2, le=50)] = 10
    rate: Annotated[float, Field(gt=0, lt=1)] = 0.5
    form: Literal["auto", "dense"] = "auto"
    renew: bool = False
    name: str = "plain"
    eps: tuple[Annotated[float, Field(gt=0)], ...] = (0.1, 0.2)
    losses: tuple[Literal["margin", "tanh"], ...] = ()
    delta: Literal["auto"] | Annotated[float, Field(gt=0, lt=1)] = "auto"
    at_most: int = 3

    id: ClassVar[str] = "method"

    @model_validator(mode="after")
    def _fits(self) -> Method:
        if self.renew and self.draws == 7:
            raise ValueError("draws=7 does not go with renew=true")
        return self


@parameters
class Demanding:
    """One that has no default."""

    count: int
    name: str = "x"


def read(**words: str) -> Method:
    return build(Method, words, owner="method")


@pytest.mark.parametrize(
    ("words", "values"),
    [
        ({}, {}),
        ({"draws": "2", "rate": "1e-3"}, {"draws": 2, "rate": 1e-3}),
        ({"form": "dense", "name": "any word"}, {"form": "dense", "name": "any word"}),
        ({"renew": "true"}, {"renew": True}),
        ({"renew": "False"}, {"renew": False}),
        ({"eps": "0.01/0.05/1"}, {"eps": (0.01, 0.05, 1.0)}),
        ({"eps": "0.5"}, {"eps": (0.5,)}),
        ({"losses": "tanh/margin"}, {"losses": ("tanh", "margin")}),
        ({"delta": "0.1"}, {"delta": 0.1}),
        ({"delta": "auto"}, {}),
        ({"at-most": "5"}, {"at_most": 5}),
        ({"at_most": "5"}, {"at_most": 5}),
    ],
)
def test_words_become_values_of_their_type(words: dict[str, str], values: dict[str, object]) -> None:
    assert build(Method, words, owner="method") == Method(**values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ({"draws": "ten"}, ["draws=ten", "a whole number", "default is 10"]),
        ({"draws": "2.5"}, ["draws=2.5", "a whole number", "default is 10"]),
        ({"draws": ""}, ["draws= ", "a whole number", "default is 10"]),
        ({"draws": "1"}, ["draws=1 ", "greater than or equal to 2", "default is 10"]),
        ({"draws": "51"}, ["draws=51", "less than or equal to 50", "default is 10"]),
        ({"rate": "half"}, ["rate=half", "a number", "default is 0.5"]),
        ({"rate": "0"}, ["rate=0 ", "greater than 0", "default is 0.5"]),
        ({"rate": "1"}, ["rate=1 ", "less than 1", "default is 0.5"]),
        ({"rate": "nan"}, ["rate=nan", "a finite number", "default is 0.5"]),
        ({"rate": "inf"}, ["rate=inf", "a finite number", "default is 0.5"]),
        ({"form": "dens"}, ["form=dens ", "'auto' or 'dense'", 'Did you mean "dense"?', "default is auto"]),
        ({"form": "zzz"}, ["form=zzz", "'auto' or 'dense'", "default is auto"]),
        ({"renew": "perhaps"}, ["renew=perhaps", "true or false", "default is false"]),
        ({"eps": "0.1/x"}, ["eps=x", "a number", "default is 0.1/0.2"]),
        ({"eps": "0.1/0"}, ["eps=0 ", "greater than 0", "default is 0.1/0.2"]),
        ({"eps": ""}, ["eps= ", "a number", "default is 0.1/0.2"]),
        (
            {"losses": "tanh/margn"},
            ["losses=margn", "'margin' or 'tanh'", 'Did you mean "margin"?', "default is empty"],
        ),
        ({"delta": "2"}, ["delta=2", "'auto' or less than 1", "default is auto"]),
        ({"delta": "aut"}, ["delta=aut", "'auto' or a number", 'Did you mean "auto"?', "default is auto"]),
        ({"at-most": "few"}, ["at-most=few", "a whole number", "default is 3"]),
        ({"drws": "3"}, ['no parameter "drws"', 'Did you mean "draws"?']),
        ({"at-mst": "3"}, ['no parameter "at-mst"', 'Did you mean "at-most"?']),
        ({"zzz": "3"}, ['no parameter "zzz"', "Known: at-most, delta, draws"]),
        ({"at-most": "3", "at_most": "4"}, ["at-most is given twice"]),
        ({"renew": "true", "draws": "7"}, ["draws=7 does not go with renew=true."]),
    ],
)
def test_a_wrong_value_is_refused_with_what_came_what_was_expected_and_the_default(
    words: dict[str, str], expected: list[str]
) -> None:
    with pytest.raises(ConfigError) as caught:
        build(Method, words, owner="method")
    message = str(caught.value)
    assert message.startswith("method")
    for part in expected:
        assert part in message, message
    assert "Input should" not in message
    assert "Known:" not in message or "no parameter" in message  # the known words of a value are said once
    assert ".." not in message
    assert "?." not in message


def test_a_parameter_without_a_default_must_be_given() -> None:
    assert build(Demanding, {"count": "3"}, owner="demanding") == Demanding(count=3)
    with pytest.raises(ConfigError, match="demanding needs count=…"):
        build(Demanding, {"name": "y"}, owner="demanding")
    with pytest.raises(ConfigError) as caught:
        build(Demanding, {"count": "x"}, owner="demanding")
    assert "default" not in str(caught.value)


def test_the_constructor_checks_too_and_what_it_makes_stays() -> None:
    with pytest.raises(ValidationError, match="draws"):
        Method(draws=1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        read().draws = 3  # type: ignore[misc]
    assert not hasattr(read(), "__dict__")


def test_spec_names_what_is_no_default_in_the_words_it_is_read_from() -> None:
    assert spec_of(read()) == "method"
    made = read(draws="4", renew="true", **{"at-most": "9"})
    assert spec_of(made) == "method:at-most=9,draws=4,renew=true"
    id_, words = registry.parse_spec(spec_of(made))
    assert (id_, build(Method, words, owner="method")) == ("method", made)


@pytest.mark.parametrize("group", ["attacks", "defenses"])
def test_every_method_has_a_default_for_each_parameter(group: str) -> None:
    for entry in registry.entries(group).values():
        kind = entry.load()
        assert build(kind, {}, owner=entry.id) == kind(), entry.id
        for field in dataclasses.fields(kind):
            assert field.default is not dataclasses.MISSING, (entry.id, field.name)


@parameters
class Lists:
    """One whose places count, and one whose values do."""

    shares: tuple[float, ...] = (0.5, 0.25, 0.25)
    kinds: tuple[str, ...] = ("a", "b")
    most: int | None = None


def test_a_value_twice_in_a_list_is_refused_unless_places_count() -> None:
    for words in ({"kinds": "a/a"}, {"kinds": "b/a/b"}):
        with pytest.raises(ConfigError, match=f"method: kinds={words['kinds']} names a value twice; leave one out"):
            build(Lists, words, owner="method")
    assert build(Lists, {"shares": "0.2/0.4/0.4", "kinds": "b/a"}, owner="method").shares == (0.2, 0.4, 0.4)


def test_a_default_by_the_profile_is_not_called_none() -> None:
    with pytest.raises(ConfigError) as caught:
        build(Lists, {"most": "many"}, owner="method")
    assert "None" not in str(caught.value)


@pytest.mark.parametrize(
    ("count", "wanted"),
    [
        (2**31, "at most 2,147,483,647"),
        (10**30, "at most 2,147,483,647"),
        (-(2**31), "a number from −2,147,483,647 to 2,147,483,647"),
        (-(10**30), "a number from −2,147,483,647 to 2,147,483,647"),
    ],
)
def test_a_number_that_nothing_could_take_is_refused_before_it_overflows(count: int, wanted: str) -> None:
    with pytest.raises(ConfigError, match=f"method: count={count} cannot be used: expected {wanted}"):
        build(Demanding, {"count": str(count)}, owner="method")
    assert build(Demanding, {"count": str(2**31 - 1)}, owner="method").count == 2**31 - 1
