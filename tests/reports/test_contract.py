"""What every format owes: same bytes, one voice, every audit renders, nothing hostile survives, no torch."""

from __future__ import annotations

import re
import subprocess
import sys
from functools import cache

import pytest

from auditor import registry
from auditor.api.files import HEAD
from auditor.document import Audit, Metric, from_bytes, to_bytes
from auditor.document.facts import Prototypical
from reports.neutral import neutral
from tests.reports import reading, samples
from tests.reports.compared import AUDITS
from tests.reports.reading import fresh, rendered

FORMATS = tuple(registry.entries("reports"))
FAMILY = {name: entry.family for name, entry in registry.entries("reports").items()}
WORDED = tuple(name for name in FORMATS if FAMILY[name] != "data")
"""Formats with sentences about results."""
OWN = tuple(name for name in AUDITS if "hostile" not in name)
HOSTILE = tuple(name for name in AUDITS if "hostile" in name)


def test_every_format_of_the_design_is_registered() -> None:
    assert set(FORMATS) >= {"terminal", "json", "html", "markdown", "sarif", "junit", "csv", "dossier", "cyclonedx"}
    assert set(FAMILY.values()) <= {"text", "page", "exchange", "data"}


@cache
def made_again(audit: str) -> Audit:
    """The audit made a second time, written and read: once for all formats."""
    return from_bytes(to_bytes(AUDITS[audit]()))


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("audit", AUDITS)
def test_a_file_is_known_by_its_beginning(name: str, audit: str) -> None:
    """It is replaced by the next report of its kind, and no other file is."""
    kind = registry.find("reports", name).load()
    assert re.match(kind.opening, rendered(name, audit)[:HEAD], re.DOTALL)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("audit", AUDITS)
def test_same_audit_gives_the_same_bytes(name: str, audit: str) -> None:
    first = rendered(name, audit)
    assert first == fresh(name, made_again(audit))
    assert first.strip()


@pytest.mark.parametrize("name", ["terminal", "html"])
def test_a_test_that_judges_nothing_is_read_beside_one_that_shows_much(name: str) -> None:
    """Nothing else says what it found."""
    many = [samples.number(samples.ACCURACY, "shift-damage", 0.7, ("clean", 0.8), subset=f"{k}") for k in range(80)]
    many.append(samples.number(samples.ACCURACY, "shift-damage", 0.7, ("clean", 0.8), subset="80", judged=True))
    quiet = Metric("prototype_auroc", "auc", "lower")
    facts = Prototypical(made="rewired", how="made", space="input", prototypes=8)
    beside = ("sizes-and-averages", 0.5)
    alone = samples.number(quiet, "shift-prototypes-no-benefit", 0.62, beside, subset="rewired", facts=facts)
    audit = samples.assembled(
        [samples.cell("corruption", "shift", many), samples.cell("prototype-ood", "shift", [alone])]
    )
    if name == "terminal":
        told = registry.find("reports", name).load()().render(audit, verbose=True)
        assert "farther from the nearest typical training" in " ".join(told.split())
    else:
        told = reading.visible(name, fresh(name, audit))
    assert "prototype AUROC" in told


@pytest.mark.parametrize("name", FORMATS)
def test_filename_and_id_match_the_table(name: str) -> None:
    report = registry.find("reports", name).load()
    assert report.id == name
    assert report.filename.startswith("audit.")


@pytest.mark.parametrize("name", WORDED)
@pytest.mark.parametrize("audit", OWN)
def test_no_format_has_a_forbidden_word_a_sign_or_a_wrong_plural(name: str, audit: str) -> None:
    text = " ".join(reading.visible(name, rendered(name, audit)).split())
    for caveat in reading.caveats(AUDITS[audit]()):
        text = text.replace(" ".join(caveat.split()), "")
    assert not reading.FORBIDDEN.search(text)
    assert not reading.SIGN.search(text)
    assert reading.plurals(text) == []


@pytest.mark.parametrize("name", [name for name in WORDED if name != "terminal"])
def test_a_sentence_about_a_result_is_the_same_in_every_format(name: str) -> None:
    text = " ".join(reading.visible(name, rendered(name, "realistic")).split())
    assert "The difference lies between 3.0 and 13.0 points; the limit of standard is 10 points" in text
    assert "if 1 in 1,000 unlinked pairs is falsely named, 352 in 1,000 links are found; without the model 48" in text


@pytest.mark.parametrize("audit", HOSTILE)
@pytest.mark.parametrize("name", [name for name in FORMATS if name != "json"])
def test_hostile_text_is_neutralised(name: str, audit: str) -> None:
    content = rendered(name, audit)
    if audit == "hostile":  # of a comparison a format may leave out what is not judged
        assert "alert(1)" in content, "the hostile name should be shown, as text"
    for forbidden in ("\x1b", "\x00", "\x07", "\x08", "\u202e", "\u2066", "A" * 700):
        assert forbidden not in content
    assert "evil.example" not in content, "an OSC hyperlink's address is not text"
    white = "\n\r\t" if FAMILY[name] == "data" else "\n\r"
    assert all(c.isprintable() or c in white for c in content)


def test_json_keeps_the_document_as_it_is() -> None:
    assert from_bytes(rendered("json", "hostile").encode()) == AUDITS["hostile"]()


@pytest.mark.parametrize("audit", OWN)
def test_neutralising_keeps_what_is_not_hostile(audit: str) -> None:
    assert neutral(AUDITS[audit]()) == AUDITS[audit]()


@pytest.mark.parametrize("audit", HOSTILE)
def test_neutralising_is_idempotent_and_keeps_every_number(audit: str) -> None:
    before, once = AUDITS[audit](), neutral(AUDITS[audit]())
    assert neutral(once) == once
    assert [(r.estimate, r.judgement and r.judgement.status) for r in once.results] == [
        (r.estimate, r.judgement and r.judgement.status) for r in before.results
    ]
    assert [r.control is None for r in once.results] == [r.control is None for r in before.results]
    assert all(key in {cell.key for cell in once.cells} for result in once.results for key in result.cells)


def test_reports_import_no_torch() -> None:
    script = "import sys\n" + "\n".join(
        f"import {registry.find('reports', name).location.partition(':')[0]}" for name in FORMATS
    )
    done = subprocess.run(
        [sys.executable, "-c", f"{script}\nassert 'torch' not in sys.modules"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
