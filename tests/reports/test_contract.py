"""What every format owes: same bytes, every audit renders, nothing hostile survives, nothing is imported upwards."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

from auditor import registry
from auditor.audit import Audit, from_bytes, to_bytes
from reports.neutral import neutral, neutral_text
from tests.reports import compared, samples

FORMATS = tuple(registry.entries("reports"))
AUDITS = {
    "realistic": samples.realistic,
    "clean": samples.clean,
    "empty": samples.empty,
    "several seeds": samples.several_seeds,
    "hostile": samples.hostile,
    "comparison": compared.comparison,
    "hostile comparison": compared.hostile_comparison,
}


def rendered(name: str, audit: Audit) -> str:
    content = registry.find("reports", name).load()().render(audit)
    return content.decode() if isinstance(content, bytes) else str(content)


def test_every_format_of_the_design_is_registered() -> None:
    assert set(FORMATS) >= {"terminal", "json", "html", "markdown", "sarif", "junit", "csv"}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("make", AUDITS.values(), ids=AUDITS)
def test_same_audit_gives_the_same_bytes(name: str, make: Callable[[], Audit]) -> None:
    first = rendered(name, make())
    assert first == rendered(name, from_bytes(to_bytes(make())))
    assert first.strip()


@pytest.mark.parametrize("name", FORMATS)
def test_filename_and_id_match_the_table(name: str) -> None:
    report = registry.find("reports", name).load()
    assert report.id == name
    assert report.filename.startswith("audit.")


@pytest.mark.parametrize("make", [samples.hostile, compared.hostile_comparison])
@pytest.mark.parametrize("name", [name for name in FORMATS if name != "json"])
def test_hostile_text_is_neutralised(name: str, make: Callable[[], Audit]) -> None:
    content = rendered(name, make())
    if make is samples.hostile or name not in ("sarif", "junit"):  # which list judged findings and gaps only
        assert "alert(1)" in content, "the hostile name should be shown, as text"
    for forbidden in ("\x1b", "\x00", "\x07", "\x08", "\u202e", "\u2066", "A" * 700):
        assert forbidden not in content
    assert "evil.example" not in content, "an OSC hyperlink's address is not text"
    assert all(c.isprintable() or c in "\n\r" for c in content)


def test_json_keeps_the_document_as_it_is() -> None:
    audit = samples.hostile()
    assert from_bytes(rendered("json", audit).encode()) == audit


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("plain", "plain"),
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x9b31mred", "red"),
        ("a\x1b]8;;http://evil.example\x1b\\b", "ab"),
        ("a\x1b]0;title never ended", "a"),
        ("two\nlines\tand\u2028more", "two lines and more"),
        ("a\u202eb\u2066c\u200bd\ufeffe", "abcde"),
        ("\ud800", ""),
        ("naïve – ≤ 漢字", "naïve – ≤ 漢字"),
    ],
)
def test_neutral_text(raw: str, shown: str) -> None:
    assert neutral_text(raw) == shown


def test_long_text_is_cut_with_an_ellipsis() -> None:
    assert neutral_text("A" * 10_000, limit=50) == "A" * 49 + "…"


def test_neutralising_keeps_numbers_and_is_idempotent() -> None:
    audit = samples.realistic()
    assert neutral(audit).cells == audit.cells
    assert neutral(audit).findings == audit.findings
    once = neutral(samples.hostile())
    assert neutral(once) == once
    before = [row.value for cell in audit.cells for row in cell.measurements]
    assert [row.value for cell in once.cells for row in cell.measurements] == before


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
