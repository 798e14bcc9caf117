"""The registry: specs, lookups, plug-ins."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

import pytest

from auditor import registry
from auditor.errors import ConfigError
from auditor.probe import Attack
from auditor.taxonomy import EVASION


def test_piece_without_id_belongs_to_the_id_before_it() -> None:
    assert registry.parse_specs("a:k=8,m=knn,b,c:eps=0.01/0.05") == [
        ("a", {"k": "8", "m": "knn"}),
        ("b", {}),
        ("c", {"eps": "0.01/0.05"}),
    ]


@pytest.mark.parametrize("text", ["a:k", "a:=3", "a: =3"])
def test_malformed_spec_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="key=value"):
        registry.parse_spec(text)


@pytest.mark.parametrize("text", ["a:k=1,k=2", "a:k=1, k=2"])
def test_a_key_given_twice_is_refused_and_said(text: str) -> None:
    with pytest.raises(ConfigError, match="gives k twice"):
        registry.parse_spec(text)


def test_canonical_spec_sorts_keys() -> None:
    assert registry.canonical_spec("a", {"z": "1", "b": "2"}) == "a:b=2,z=1"
    assert registry.canonical_spec("a", {}) == "a"


def test_unknown_probe_offers_the_nearest() -> None:
    with pytest.raises(ConfigError, match='Did you mean "graphmi"'):
        registry.find_probe("grafmi")


def test_every_attack_belongs_to_a_registered_probe_and_loads() -> None:
    probes = registry.probes()
    for entry in registry.entries("attacks").values():
        assert (entry.probe or entry.id) in probes
        assert isinstance(entry.load()(), Attack)


def test_a_registry_line_is_the_only_place_that_says_what_an_attack_needs() -> None:
    for entry in registry.entries("attacks").values():
        assert entry.family == registry.find_probe(entry.probe or entry.id).family, entry.id
        assert entry.access, entry.id
        declared = {"id", "needs", "access", "role", "family"} & set(vars(entry.load()))
        assert not declared, (entry.id, declared)


def test_every_defence_loads_and_names_registered_controls() -> None:
    known = registry.entries("defenses")
    for entry in known.values():
        defense = entry.load()
        assert defense.id == entry.id
        assert defense.version
        assert set(entry.controls) <= set(known), entry.id
        assert not {"needs", "tasks"} & set(vars(defense)), entry.id


def test_controls_that_a_defence_brings_along_are_those_of_its_line() -> None:
    for entry in registry.entries("defenses").values():
        brought = {registry.parse_spec(spec)[0] for spec in entry.load()().controls()}
        assert brought <= set(entry.controls), entry.id


def test_every_probe_has_a_harness_and_a_page_and_more_than_controls() -> None:
    from auditor.cli.pages import page

    for probe in registry.probes().values():
        roles = {entry.role for entry in registry.attacks_of(probe.id)}
        assert not roles or {"search", "heuristic"} & roles, (
            probe.id
        )  # a harness may need no attack; none has controls alone
        assert callable(registry.load_location(probe.evaluation))
        assert page("probes", probe.id), f"docs/probes/{probe.id}.md is missing"
        for finding in probe.findings:
            assert page("findings", finding), f"docs/findings/{finding}.md is missing"


def test_every_probe_says_what_stands_in_summaries_and_what_it_audits() -> None:
    for probe in registry.probes().values():
        assert probe.headline.metric
        assert set(probe.profiles) <= set(probe.cost), probe.id  # `check` estimates every profile it is part of
        assert set(probe.defenses) <= set(registry.entries("defenses"))


def test_random_streams_have_names_of_their_own() -> None:
    """Two methods with one name would draw the same; a probe and its only attack share theirs by design."""
    for lines in (registry.probes(), registry.entries("attacks"), registry.entries("defenses")):
        streams = [line.stream for line in lines.values()]
        assert len(set(streams)) == len(streams)
    edit = registry.find_probe("prototype-edit")
    assert (edit.stream, registry.find("attacks", "prototype-edit").stream) == ("prototype-shift", "prototype-shift")


def test_a_plug_in_in_a_defence_s_own_folder_is_found() -> None:
    """Joint-cluster registers its probes by an entry point of its own, as a plug-in of somebody else would."""
    points = {point.name: point.value for point in entry_points(group="auditor.attacks")}
    assert points["joint-cluster"] == "defenses.joint_cluster.probes.table:TABLE"
    table = registry.load_location(points["joint-cluster"])
    assert {probe.id for probe in table.probes} == {  # type: ignore[attr-defined]
        "partition-leak",
        "prototype-membership",
        "prototype-edit",
        "cluster-jump",
    }
    for probe in table.probes:  # type: ignore[attr-defined]
        assert registry.find_probe(probe.id) == probe
        assert probe.defenses == ("joint-cluster",)
        assert registry.attacks_of(probe.id)
    assert next(iter(registry.probes())) == "graphmi"  # the built-in ones come first


def test_findings_are_those_of_probes_defences_and_verbs() -> None:
    found = registry.findings()
    assert list(found) == sorted(found)
    assert {id_: found[id_] for id_ in ("prototype-edit", "joint-cluster-jump", "l2r-effect", "dp-claim")} == {
        "prototype-edit": "robustness",
        "joint-cluster-jump": "robustness",
        "l2r-effect": "shift",
        "dp-claim": "privacy",
    }


def entry(**changes: Any) -> registry.Entry:
    return registry.Entry("mine", "m:x", "one", **changes)


def probe(**changes: Any) -> registry.ProbeEntry:
    words: dict[str, Any] = {"family": "shift", "evaluation": "m:x", "findings": ("mine",)}
    return registry.ProbeEntry("mine", summary="one", headline=registry.Shown("auc"), **{**words, **changes})


@pytest.mark.parametrize(
    ("make", "changes", "said"),
    [
        (entry, {"role": "serach"}, 'entry "mine": role "serach" is not known; expected control, heuristic, search.'),
        (
            entry,
            {"needs": ("GRADS",)},
            'entry "mine": needs "GRADS" is not known; expected ANY_NODES, BARE,',
        ),
        (entry, {"access": ("wieghts",)}, 'entry "mine": access "wieghts" is not known; expected density,'),
        (entry, {"access": ("graph")}, "entry \"mine\": access is 'graph'; expected a tuple, as in access=('graph',)."),
        (
            entry,
            {"family": "privacy", "access": ("graph",)},
            'access of a privacy attack "graph" is not known; expected',
        ),
        (entry, {"tasks": ("nodes",)}, 'tasks "nodes" is not known; expected edge, graph, node.'),
        (entry, {"reference": "orakle"}, 'reference "orakle" is not known'),
        (entry, {"findings": "mine"}, "findings is 'mine'; expected a tuple"),
        (probe, {"family": "adversarial"}, 'probe "mine": family "adversarial" is not known; expected privacy,'),
        (probe, {"tasks": ("link",)}, 'probe "mine": tasks "link" is not known'),
        (probe, {"profiles": ("quik",)}, 'probe "mine": profiles "quik" is not known; expected full, quick, standard.'),
        (probe, {"cost": {"quik": 1}}, 'probe "mine": cost "quik" is not known'),
        (probe, {"taxa": {"yours": EVASION}}, 'probe "mine": taxa "yours" is not known; expected mine.'),
        (probe, {"evaluation": "m.x"}, 'probe "mine": evaluation is "m.x"; expected module:attribute.'),
    ],
)
def test_a_wrong_line_is_refused_when_it_is_made(make: Any, changes: dict[str, Any], said: str) -> None:
    assert make()
    with pytest.raises(ConfigError) as caught:
        make(**changes)
    assert said in str(caught.value)


def test_what_is_not_offered_says_why() -> None:
    refused = {id_: reason for table in registry._tables("defenses") for id_, reason in table.not_offered.items()}
    assert refused
    for id_, reason in refused.items():
        with pytest.raises(ConfigError) as caught:
            registry.find("defenses", id_)
        assert str(caught.value) == f"{id_} is not offered: {reason}"


def test_broken_plug_in_warns_and_the_others_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        name, value = "broken", "nowhere:TABLE"

        def load(self) -> object:
            raise ImportError("no such module")

    real = registry.entry_points
    monkeypatch.setattr(registry, "entry_points", lambda group: [*real(group=group), Broken()])
    registry._tables.cache_clear()
    try:
        with pytest.warns(UserWarning, match="plug-in broken"):
            assert "graphmi" in registry.probes()
    finally:
        registry._tables.cache_clear()


def test_first_of_two_equal_ids_wins() -> None:
    first, second = registry.Entry("a", "m:x", "one"), registry.Entry("a", "m:y", "two")
    assert registry._by_id([first, second]) == {"a": first}
