"""The plan: which probes, where parameters go, why a probe is skipped, keys."""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from auditor import registry
from auditor.errors import ConfigError
from auditor.registry import Entry, ProbeEntry, Profile, Shown
from auditor.runner.plan import ProbeRequest, build_attacks, choose_probes, plan, usable_attacks
from auditor.targets.target import Capability, Target
from auditor.view import SideKnowledge
from tests.toys import sbm_graph, toy_target

PUBLIC = SideKnowledge()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"only": "grafmi"}, 'Did you mean "graphmi"'),
        ({"family": "privcy"}, 'Did you mean "privacy"'),
        ({"profile": "quik"}, 'Did you mean "quick"'),
        ({"skip": "graphmi:k=3"}, "without parameters"),
        ({"only": "strata", "skip": "strata"}, "no probe is left"),
        ({"only": "strata,strata"}, "twice"),
    ],
)
def test_bad_choice_is_refused(options: dict[str, str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        choose_probes(**options)  # type: ignore[arg-type]


def test_a_probe_without_its_extra_is_planned_with_the_reason_and_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found, missing = importlib.util.find_spec, {"ot"}
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name in missing else found(name, *more)
    )
    requests = [ProbeRequest(probe, named=True) for probe in registry.probes().values() if probe.extra is not None]
    assert [request.entry.id for request in requests] == ["prototype-ood"]

    def reason() -> str:
        cells = plan(toy_target("graph-gin"), requests, seeds=(0,), profile="quick", side=PUBLIC)
        return cells[0].skip

    assert reason() == "needs POT, which is not installed; run: pip install POT"
    missing.clear()
    assert reason() == ""


def test_named_probe_runs_even_where_the_profile_leaves_it_out() -> None:
    assert "graphmi" not in {r.entry.id for r in choose_probes(profile="quick")}
    (named,) = choose_probes(only="graphmi", profile="quick")
    assert named.named


@pytest.mark.parametrize(
    ("arch", "absent", "said"),
    [("gcn", "graph-membership", ""), ("graph-gin", "membership-threshold", "posterior-similarity")],
)
def test_what_is_not_there_on_such_a_target_is_asked_about_by_name_alone(arch: str, absent: str, said: str) -> None:
    def planned(only: str = "") -> dict[str, str]:
        cells = plan(toy_target(arch, epochs=1), choose_probes(only=only), seeds=(0,), profile="quick", side=PUBLIC)
        return {cell.entry.id: cell.skip for cell in cells}

    assert absent not in planned()
    assert "made for" in planned(absent)[absent]
    if said:  # graphs of many have edges, which no probe of ours looks for: that is said
        assert "made for node classifiers" in planned()[said]


@pytest.mark.parametrize(
    ("probe", "said"),
    [
        ("embedding-similarity", {"embeddings": True}),
        ("explanation-similarity", {"explanations": "own"}),
        ("attribute-inference", {"sensitive": 0}),
    ],
)
def test_what_is_not_said_to_be_handed_out_is_attacked_by_name_alone(probe: str, said: dict[str, Any]) -> None:
    def planned(side: SideKnowledge, only: str = "") -> dict[str, str]:
        cells = plan(toy_target(), choose_probes(only=only), seeds=(0,), profile="standard", side=side)
        return {cell.entry.id: cell.skip for cell in cells}

    assert probe not in planned(PUBLIC)
    assert planned(SideKnowledge(**said))[probe] == ""
    assert ("nobody named" in planned(PUBLIC, probe)[probe]) == (probe == "attribute-inference")


def test_unknown_parameter_offers_the_nearest() -> None:
    request = ProbeRequest(registry.find_probe("graphmi"), {"stepz": "3"})
    with pytest.raises(ConfigError, match='no parameter "stepz"'):
        build_attacks(request.entry, request.params)


def test_parameter_reaches_the_attack_that_declares_it() -> None:
    request = ProbeRequest(registry.find_probe("graphmi"), {"steps": "7"})
    ((attack,), harness) = build_attacks(request.entry, request.params)
    assert (attack.id, attack.entry.role) == ("graphmi", "search")
    assert attack.attack.steps == 7  # type: ignore[attr-defined]
    assert harness == {}


@pytest.mark.parametrize(("key", "value"), [("steps", "many"), ("negatives", "none")])
def test_a_value_of_the_wrong_type_is_refused_wherever_it_is_declared(key: str, value: str) -> None:
    request = ProbeRequest(registry.find_probe("graphmi"), {key: value})
    with pytest.raises(ConfigError, match=f"graphmi: {key}={value} cannot be used"):
        build_attacks(request.entry, request.params)


def test_a_harness_that_judges_a_lack_itself_is_planned_without_its_search() -> None:
    """Whether a model without a gradient to its edges uses edges at all is for the harness to find out."""
    target = dataclasses.replace(toy_target(), capabilities=frozenset(Capability) - {Capability.GRAD_EDGE})
    (cell,) = plan(target, choose_probes(only="structure-evasion"), seeds=(0,), profile="quick", side=SideKnowledge())
    assert cell.skip == ""
    usable, _params = usable_attacks(target, cell.entry, cell.params)
    assert [attack.entry.role for attack in usable] == ["control", "heuristic"]


def test_probe_is_skipped_when_no_search_can_run() -> None:
    target = dataclasses.replace(toy_target(), capabilities=frozenset({Capability.LABELS, Capability.PROBS}))
    requests = choose_probes(only="structure-evasion,posterior-similarity")
    cells = plan(target, requests, seeds=(0,), profile="quick", side=SideKnowledge())
    reasons = {cell.entry.id: cell.skip for cell in cells}
    assert "GRAD_EDGE" in reasons["structure-evasion"]
    assert reasons["posterior-similarity"] == ""


def test_node_probe_is_skipped_on_a_graph_classifier() -> None:
    cells = plan(
        toy_target("graph-gin"), choose_probes(only="graphmi"), seeds=(0,), profile="quick", side=SideKnowledge()
    )
    assert "node classifiers" in cells[0].skip


Roles = dict[str, tuple[str, ...]]


@pytest.fixture
def probing(monkeypatch: pytest.MonkeyPatch) -> Callable[..., ProbeRequest]:
    """Registers a probe with one attack a role, each with what it needs."""

    def registered(roles: Roles, **more: object) -> ProbeRequest:
        strata = registry.find("attacks", "strata").location
        evaluation = registry.find_probe("strata").evaluation
        fields = {"findings": ("shift-gap",), "headline": Shown("accuracy"), **more}
        probe = ProbeEntry("planted", "shift", evaluation, "", **fields)  # type: ignore[arg-type]
        entries = tuple(
            Entry(f"planted-{role}", strata, "", "shift", "planted", needs, role=role)  # type: ignore[arg-type]
            for role, needs in roles.items()
        )
        monkeypatch.setattr(registry, "attacks_of", lambda _probe: entries)
        return ProbeRequest(probe)

    return registered


@pytest.mark.parametrize(
    ("roles", "reason"),
    [
        ({"search": ("PARAMS",), "heuristic": (), "control": ()}, "needs PARAMS; toy-gcn offers LABELS, PROBS"),
        ({"search": ("PROBS",), "heuristic": ("PARAMS",), "control": ()}, ""),
        (
            {"heuristic": ("PARAMS", "GRAD_X"), "control": ()},
            "needs a gradient to its features (GRAD_X), PARAMS; toy-gcn offers LABELS, PROBS",
        ),
        ({"heuristic": ("LABELS",)}, ""),
        ({"control": ()}, "needs an attack that is no control; toy-gcn offers LABELS, PROBS"),
        ({}, ""),
    ],
)
def test_roles_decide_whether_a_probe_runs(probing: Callable[..., ProbeRequest], roles: Roles, reason: str) -> None:
    target = dataclasses.replace(toy_target(epochs=2), capabilities=frozenset({Capability.LABELS, Capability.PROBS}))
    request = probing(roles)
    (cell,) = plan(target, [request], seeds=(0,), profile="quick", side=PUBLIC)
    assert cell.skip == reason
    usable, _params = usable_attacks(target, request.entry, {})
    assert {attack.entry.role for attack in usable} == {
        role for role, needs in roles.items() if set(needs) <= {"LABELS", "PROBS"}
    }


def test_a_probe_that_draws_nothing_has_one_cell(probing: Callable[..., ProbeRequest]) -> None:
    target = toy_target(epochs=2)
    for fixed, seeds in ((False, [3, 4]), (True, [3])):
        request = probing({"heuristic": ()}, deterministic=fixed)
        cells = plan(target, [request], seeds=(3, 4), profile="quick", side=PUBLIC)
        assert [cell.seed for cell in cells] == seeds


def test_key_depends_on_everything_that_changes_the_result() -> None:
    target = toy_target(epochs=5)

    def key(only: str = "strata", seed: int = 0, profile: Profile = "quick", side: SideKnowledge = PUBLIC) -> str:
        return plan(target, choose_probes(only=only), seeds=(seed,), profile=profile, side=side)[0].key

    strata = choose_probes(only="strata")
    (defended,) = plan(target, strata, seeds=(0,), profile="quick", side=PUBLIC, arm="l2r")
    assert (defended.arm, defended.key == key()) == ("l2r", False)
    keys = {key(), key(only="corruption"), key(seed=1), key(profile="full"), key(side=SideKnowledge(labels="train"))}
    assert len(keys) == 5
    assert key() in keys


def test_probe_of_another_defence_s_artefact_is_left_out_unless_named() -> None:
    target = toy_target(epochs=2)

    def planned(only: str = "") -> list[str]:
        cells = plan(target, choose_probes(only=only), seeds=(0,), profile="standard", side=PUBLIC)
        return [cell.entry.id for cell in cells]

    assert "partition-leak" not in planned()
    assert planned("partition-leak") == ["partition-leak"]


def test_parameters_that_do_not_fit_the_target_are_refused_before_anything_runs() -> None:
    with pytest.raises(ConfigError, match="nodes of toy-sbm have no field of that name"):
        plan(toy_target(), choose_probes(only="heldout-domain:column=age"), seeds=(0,), profile="quick", side=PUBLIC)


@pytest.mark.parametrize("arch", ["gcn", "graph-gin"])
def test_what_nobody_held_out_is_asked_about_by_name_alone(arch: str) -> None:
    def planned(target: Target, only: str = "") -> set[str]:
        requests = choose_probes(only=only, family="shift", profile="full")
        return {cell.entry.id for cell in plan(target, requests, seeds=(0,), profile="full", side=PUBLIC)}

    target = toy_target(arch, epochs=1)
    assert "strata" in planned(target)
    assert "heldout-domain" not in planned(target)
    assert planned(target, "heldout-domain") == {"heldout-domain"}


def test_a_domain_that_a_lack_hides_is_planned_so_that_the_lack_is_said() -> None:
    target = toy_target("graph-gin", epochs=1)
    lacking = dataclasses.replace(target, capabilities=target.capabilities - {Capability.SPLIT})
    cells = plan(lacking, choose_probes(family="shift"), seeds=(0,), profile="standard", side=PUBLIC)
    assert "heldout-domain" in {cell.entry.id for cell in cells}


def test_a_file_with_another_content_is_another_cell(tmp_path: Path) -> None:
    file = tmp_path / "elsewhere.npz"
    graph = sbm_graph(200, seed=3)
    np.savez(file, x=graph.x, edge_index=graph.edge_index, y=graph.y)
    target = toy_target()

    def key() -> str:
        requests = choose_probes(only=f"heldout-domain:domain={file}")
        return plan(target, requests, seeds=(0,), profile="quick", side=PUBLIC)[0].key

    before = key()
    assert key() == before
    np.savez(file, x=1 - graph.x, edge_index=graph.edge_index, y=graph.y)
    assert key() != before
