"""The documentation says what the program does: pages, keys, access words, examples and pictures."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from PIL import Image

from auditor import registry
from auditor.api.options import DEFAULTS
from auditor.document import Audit
from auditor.policy.bands import BANDS
from auditor.policy.rules import LIMITS, SHIPPED, Policy, Suppress
from auditor.targets.config import DataTable, TargetFile, TargetTable, TrainTable
from auditor.view import Access, SideKnowledge

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
FOLDERS = ("probes", "defenses", "findings", "methods")
PACKAGES = ("auditor", "attacks", "defenses", "reports", "benchmarks")


def text_of(page: str) -> str:
    return (DOCS / page).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; a broken link or a page outside the navigation fails the build."""
    pytest.importorskip("mkdocs", reason="mkdocs is not installed")
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def test_every_page_is_in_the_site_and_its_navigation(site: Path) -> None:
    home = (site / "index.html").read_text(encoding="utf-8")
    pages = [page.relative_to(DOCS).with_suffix(".html").as_posix() for page in DOCS.rglob("*.md")]
    assert len(pages) > 20
    for page in pages:
        assert (site / page).is_file()
        assert f'href="{page}"' in home


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_index_of_a_folder_lists_its_pages(site: Path, folder: str) -> None:
    index = (site / folder / "index.html").read_text(encoding="utf-8")
    body = index[index.index("<table") : index.index("</table>")]
    for page in (DOCS / folder).glob("*.md"):
        assert (page.stem == "index") != (f'<a href="{page.stem}.html">' in body)


def test_the_site_fetches_nothing_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        loaded = re.findall(r'<(?:script|link|img)[^>]*(?:src|href)="(https?:[^"]*)"', page.read_text(encoding="utf-8"))
        assert loaded == []


def test_the_worked_attack_is_shown_from_contributing(site: Path) -> None:
    page = (site / "adding-an-attack.html").read_text(encoding="utf-8")
    assert "class Hubs" in page
    assert "--8&lt;--" not in page


TABLES = {
    "[target]": set(TargetTable.model_fields) - {"train", "init"},
    "[target.train]": set(TrainTable.model_fields),
    "[data]": set(DataTable.model_fields),
    "[access]": {field.name for field in dataclasses.fields(SideKnowledge)}
    - {"explanations_sha256"},  # nobody's to say
    "[run]": set(DEFAULTS),
    "[gate]": (set(Policy.model_fields) - {"name", "limits", "suppress"}) | set(LIMITS),
    "[[suppress]]": set(Suppress.model_fields),
}


@pytest.mark.parametrize("table", TABLES)
def test_every_key_of_the_config_is_documented(table: str) -> None:
    rows = text_of("gate.md").partition("## Every key")[2]
    part = rows[rows.index(f"| `{table}`") :]
    part = re.split(r"\n(?=\| `\[)|\n\n", part, maxsplit=1)[0]
    keys = {word for row in part.splitlines() for word in re.findall(r"`([a-z0-9_]+)`", row.split("|")[2])}
    assert keys == TABLES[table]


def test_every_table_of_the_config_is_documented() -> None:
    rows = text_of("gate.md").partition("## Every key")[2]
    named = set(re.findall(r"`\[+([a-z]+)", rows))
    assert set(TargetFile.model_fields) - {"unanswered"} <= named
    assert "`unanswered`" in rows


def test_policies_bands_and_limits_are_the_shipped_ones() -> None:
    text = text_of("gate.md")
    for name, values in SHIPPED.items():
        line = "the table above" if values.get("fails_from") else f"{values['fail_on']}, every question"
        assert re.search(rf"^\| `{name}`[^|]*\| {line}", text, flags=re.MULTILINE), name
    standard = Policy()
    for question, bands in BANDS.items():
        row = re.search(rf"^\| [^|:]*`{question}`[^|:]*:[^|]*\|(.*)\|$", text, flags=re.MULTILINE)
        assert row is not None, question
        *shown, fails_from = [cell.strip() for cell in row[1].split("|")]
        edges = [bands.low, bands.medium, bands.high, bands.critical]
        assert shown == ["above 0" if e == 0 else "–" if e is None else f"{e:.2f}"[1:] for e in edges], question
        own = standard.fails_from.get(question)
        points = None if own is None else f"{100 * float(own):g}"
        named = f"**{points} point{'' if points == '1' else 's'}**"
        never = bands.threshold(standard.fail_on) is None
        assert fails_from == (named if own is not None else "never" if never else standard.fail_on), question
    for name, question in LIMITS.items():
        assert f"| `{name}` | `{question}` |" in text


def test_every_access_word_names_the_probes_that_are_granted_it() -> None:
    rows = {
        match[1]: match[2]
        for match in re.finditer(r"^\| `([\w-]+)` \|.*\| ([^|]*) \|$", text_of("threat-model.md"), re.M)
    }
    assert set(rows) == {word.value for word in Access}
    for probe in registry.probes():
        granted = {word for entry in registry.attacks_of(probe) for word in entry.access}
        for word in granted:
            assert f"`{probe}`" in rows[word], (probe, word)


def test_verdict_words_of_the_reading_page_are_the_documents() -> None:
    words = Audit.model_json_schema()["$defs"]["Verdict"]["properties"]["status"]["enum"]
    for word in words:
        assert f"| `{word}` |" in text_of("reading.md")


def sources() -> list[Path]:
    return [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]


def test_pages_that_docstrings_refer_to_exist() -> None:
    named = {page for path in sources() for page in re.findall(r"docs/[\w/-]+\.md", path.read_text(encoding="utf-8"))}
    assert named
    assert [page for page in sorted(named) if not (ROOT / page).is_file()] == []


def test_nothing_refers_to_a_text_outside_the_repository() -> None:
    outside = re.compile(
        r"\b(?:reports|targets|shift|dp|privacy|l2r|adversarial|tasks|runs|joint.cluster) spec\b|\bspec [0-9]"
    )
    pages = [*DOCS.rglob("*.md"), *ROOT.glob("*.md")]
    found = [path.name for path in [*sources(), *pages] if outside.search(path.read_text(encoding="utf-8"))]
    assert found == []


def test_pictures_are_small_and_load_nothing() -> None:
    svg = (DOCS / "images" / "demo.svg").read_text(encoding="utf-8")
    assert "@font-face" not in svg
    assert not re.findall(r'(?:href|src)="https?:|url\(.?https?:', svg)
    assert re.search(r"PASSED|FAILED|INCOMPLETE", svg)
    picture = DOCS / "images" / "report.png"
    assert picture.stat().st_size <= 300_000
    with Image.open(picture) as image:
        assert image.width == 1280


INSTALLED = re.compile(r"pip install ([^\n`#]*)")
LOCAL = (".", "$AUDITOR_WHEEL")


def test_no_page_installs_what_no_index_has() -> None:
    """Until it is published, pages install from a checkout or a wheel; anything else must be a dependency of ours."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    listed = [
        *project["dependencies"],
        *(word for words in project["optional-dependencies"].values() for word in words),
    ]
    known = {re.split(r"[<>=\[ ]", word)[0].lower() for word in listed}
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS.rglob("*.md"), *DOCS.rglob("*.yml")]
    named = [(page, words) for page in pages for words in INSTALLED.findall(page.read_text(encoding="utf-8"))]
    assert len(named) >= 3
    for page, words in named:
        for word in words.replace('"', " ").split():
            name = re.split(r"[<>=\[]", word)[0].lower()
            assert word.startswith("-") or word in LOCAL or name in known or name.startswith("."), (page, words)


def test_the_program_installs_no_package_of_ours_that_no_index_has() -> None:
    """What is missing is named as what pip installs: `gnn-auditor[extra]` is on no index, or somebody else's."""
    named = [path for path in sources() if re.search(r"pip install \W?gnn-auditor", path.read_text(encoding="utf-8"))]
    assert named == []
