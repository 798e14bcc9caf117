"""The plan: which probes, where parameters go, why a probe is skipped, keys."""

from __future__ import annotations

import dataclasses

import pytest

from auditor import registry
from auditor.errors import ConfigError
from auditor.probe import Profile
from auditor.runner.plan import ProbeRequest, build_attacks, choose_probes, plan
from auditor.targets.target import Capability
from auditor.view import SideKnowledge
from tests.toys import toy_target

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


def test_named_probe_runs_even_where_the_profile_leaves_it_out() -> None:
    assert "graphmi" not in {r.entry.id for r in choose_probes(profile="quick")}
    (named,) = choose_probes(only="graphmi", profile="quick")
    assert named.named


def test_unknown_parameter_offers_the_nearest() -> None:
    request = ProbeRequest(registry.find_probe("graphmi"), {"stepz": "3"})
    with pytest.raises(ConfigError, match='no parameter "stepz"'):
        build_attacks(request, registry.attacks_of("graphmi"))


def test_parameter_reaches_the_attack_that_declares_it() -> None:
    request = ProbeRequest(registry.find_probe("graphmi"), {"steps": "7"})
    attacks, _ = build_attacks(request, registry.attacks_of("graphmi"))
    assert attacks[0].steps == 7  # type: ignore[attr-defined]


def test_probe_is_skipped_when_no_demanding_attack_can_run() -> None:
    target = dataclasses.replace(toy_target(), capabilities=frozenset({Capability.LABELS, Capability.PROBS}))
    requests = choose_probes(only="structure-evasion,posterior-similarity")
    cells = plan(target, requests, seeds=(0,), profile="quick", side=SideKnowledge())
    reasons = {cell.request.entry.id: cell.skip for cell in cells}
    assert "GRAD_EDGE" in reasons["structure-evasion"]
    assert reasons["posterior-similarity"] == ""


def test_node_probe_is_skipped_on_a_graph_classifier() -> None:
    cells = plan(
        toy_target("graph-gin"), choose_probes(only="graphmi"), seeds=(0,), profile="quick", side=SideKnowledge()
    )
    assert "node classifiers" in cells[0].skip


def test_key_depends_on_everything_that_changes_the_result() -> None:
    target = toy_target(epochs=5)

    def key(only: str = "strata", seed: int = 0, profile: Profile = "quick", side: SideKnowledge = PUBLIC) -> str:
        return plan(target, choose_probes(only=only), seeds=(seed,), profile=profile, side=side)[0].key

    keys = {key(), key(only="corruption"), key(seed=1), key(profile="full"), key(side=SideKnowledge(labels="train"))}
    assert len(keys) == 5
    assert key() in keys


def test_probe_of_another_defence_s_artefact_is_left_out_unless_named() -> None:
    target = toy_target(epochs=2)

    def planned(only: str = "") -> list[str]:
        cells = plan(target, choose_probes(only=only), seeds=(0,), profile="standard", side=PUBLIC)
        return [cell.request.entry.id for cell in cells]

    assert "partition-leak" not in planned()
    assert planned("partition-leak") == ["partition-leak"]
