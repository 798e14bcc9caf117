"""The most exposed by name: where they were asked for, in the formats for people and in the document alone."""

from __future__ import annotations

import pytest

from auditor import registry
from auditor.document import from_bytes
from reports.sentences.exposed import WARNING
from tests.reports import samples
from tests.reports.reading import fresh, rendered, visible

NAMING = ("terminal", "html", "json")
SECRET = ("2607", "2468", "1203")
"""Ends of links and a member that no other number of the document looks like."""


@pytest.mark.parametrize("name", NAMING)
def test_a_format_for_the_owner_names_links_and_members(name: str) -> None:
    text = visible(name, rendered(name, "exposed"))
    assert all(id_ in text for id_ in SECRET)
    if name != "json":
        assert " ".join(WARNING.split()) in " ".join(text.split())


@pytest.mark.parametrize("name", [name for name in registry.entries("reports") if name not in NAMING])
def test_no_other_format_names_anybody(name: str) -> None:
    """Services, merge requests and whoever an audit is handed on to need not see the data."""
    text = rendered(name, "exposed")
    assert not [id_ for id_ in SECRET if id_ in text]


def test_the_screen_has_the_nearest_list_of_each_finding_and_the_tables_have_all() -> None:
    lines = rendered("terminal", "exposed").splitlines()
    at = next(k for k, line in enumerate(lines) if line.startswith("Exposed"))
    told = " ".join(" ".join(lines[at : at + 6]).split())
    assert "1701–2607, 88–1203 (2 of 905)" in told
    assert "2468 (1 of 140)" in told
    report = registry.find("reports", "terminal").load()()
    table = report.render(samples.exposed(), verbose=True)
    assert "4,120" in table, "unlinked pairs of 10,000 that a guess without the model names before the first link"
    assert "the first of 2 seeds" in " ".join(table.split())


@pytest.mark.parametrize("name", ["terminal", "html", "markdown"])
def test_that_nobody_is_named_is_said_where_names_were_asked_for(name: str) -> None:
    asked = samples.assembled([samples.stealing()], config={"profile": "standard", "exposed": 10})
    silent = samples.assembled([samples.stealing()])
    assert "obody is named" in visible(name, fresh(name, asked))
    assert "obody is named" not in visible(name, fresh(name, silent))


def test_lists_are_read_back() -> None:
    assert from_bytes(rendered("json", "exposed").encode()) == samples.exposed()
