"""The registry: specs, lookups, plug-ins."""

from __future__ import annotations

import pytest

from auditor import registry
from auditor.errors import ConfigError


def test_piece_without_id_belongs_to_the_id_before_it() -> None:
    assert registry.parse_specs("a:k=8,m=knn,b,c:eps=0.01/0.05") == [
        ("a", {"k": "8", "m": "knn"}),
        ("b", {}),
        ("c", {"eps": "0.01/0.05"}),
    ]


@pytest.mark.parametrize("text", ["a:k", "a:=3", "a:k=1,k=2"])
def test_malformed_spec_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="key=value"):
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
        attack = entry.load()
        assert attack.id == entry.id
        assert {str(need) for need in attack.needs} == set(entry.needs)


def test_every_probe_has_attacks_a_harness_and_a_page() -> None:
    from auditor.cli.pages import page

    for probe in registry.probes().values():
        assert registry.attacks_of(probe.id)
        assert callable(registry.load_location(probe.evaluation))
        assert page("probes", probe.id), f"docs/probes/{probe.id}.md is missing"
        for finding in probe.findings:
            assert page("findings", finding), f"docs/findings/{finding}.md is missing"


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
