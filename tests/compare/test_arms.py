"""Defences by name: controls and references come along, what does not apply is said."""

from __future__ import annotations

import pytest

from auditor import registry
from auditor.compare.arms import fit_defended, make_defense, reference_of, with_controls
from auditor.errors import ConfigError, SkippedError
from auditor.runner.execute import TrainedCache
from tests.compare.fake import Fake
from tests.toys import toy_target


def test_controls_come_along_once_and_defaults_are_left_out_of_the_name() -> None:
    requests = with_controls(["l2r:mode=head", "joint-cluster:tau=1.0"])
    specs = [request.spec for request in requests]
    assert specs[:3] == ["none", "l2r", "joint-cluster"]
    assert "uniform-refit" in specs
    assert "joint-cluster:arm=ce" in specs
    assert len(set(specs)) == len(specs)
    assert next(r for r in requests if r.spec == "uniform-refit").control_of == "l2r"


@pytest.mark.parametrize(
    "text",
    ["l2r:mode=l2r", "l2r:mode=all", "group-balanced:refit=full", "joint-cluster:clean=jaccard", "edge-rand:epsilon=2"],
)
def test_whatever_the_parameters_controls_stand_on_the_registry_line(text: str) -> None:
    defense = make_defense(text)
    assert defense.controls()
    ids = {registry.parse_spec(control)[0] for control in defense.controls()}
    assert ids <= set(registry.find("defenses", defense.id).controls)


def test_references_are_known_by_their_registry_line() -> None:
    found = {request.spec: reference_of(request.spec) for request in with_controls(["l2r", "group-balanced"])}
    assert found == {"none": "", "l2r": "", "uniform-refit": "", "random-weights": "random", "group-balanced": "oracle"}
    assert reference_of("no-such-defence") == ""


@pytest.mark.parametrize(
    ("text", "words"),
    [("l3r", 'Did you mean "l2r"'), ("l2r:mod=head", "mod"), ("l2r:lam=much", "lam=much")],
)
def test_bad_defence_is_refused(text: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make_defense(text)


def test_defence_of_another_task_is_skipped_with_the_reason() -> None:
    with pytest.raises(SkippedError, match="this one is graph"):
        fit_defended(toy_target("graph-gin", epochs=2), Fake(), seed=0, models=TrainedCache())


@pytest.mark.parametrize(("texts", "words"), [([], "list defenses"), (["none"], "no defence was named")])
def test_no_defence_is_an_error(texts: list[str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        with_controls(texts)
