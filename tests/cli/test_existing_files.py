"""What lies at the place of an output: a file of ours is replaced, another one is left, exit code 2."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from auditor import registry
from auditor.api.report import Report
from auditor.document import to_bytes
from auditor.errors import UsageError
from tests.cli.program import inside
from tests.reports.samples import clean, realistic

OTHERS = {
    "mine.py": b"import auditor\n\nprint(auditor.audit)\n",
    "README.md": b"# Audit of our models\n\nSee `auditor run`. FAILED: see below.\n",
    "page.html": b"<!doctype html>\n<html><head><title>Our lab: audit days</title></head></html>\n",
    "package.json": b'{\n "name": "auditor",\n "argv": []\n}\n',
    "results.csv": b"target,accuracy\ncora,0.8\n",
    "other.sarif": b'{"$schema": "https://json.schemastore.org/sarif-2.1.0.json", "runs": []}\n',
    "tests.xml": b'<?xml version="1.0" encoding="UTF-8"?>\n<testsuites name="pytest"></testsuites>\n',
    "notes.txt": b"to do: audit the model, NOT today\n",
    "model.safetensors": bytes(range(256)) * 8,
}
FORMATS = tuple(registry.entries("reports"))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "audit.json").write_bytes(to_bytes(realistic()))
    return tmp_path


def refused(place: Path, name: str, *words: str | Path) -> None:
    """A command that would write over a file: it says so, and leaves everything as it is."""
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    done = inside(*words, cwd=place)
    said = " ".join(done.stderr.split())
    assert done.returncode == 2, said
    assert f"would write over {name}, which" in said
    assert "Remove it, or choose another" in said
    assert {path: path.read_bytes() for path in place.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("format_", FORMATS)
def test_a_report_is_written_over_no_other_file(place: Path, name: str, format_: str) -> None:
    (place / name).write_bytes(OTHERS[name])
    refused(place, name, "report", "audit.json", "--format", format_, "-o", name)


@pytest.mark.parametrize("format_", FORMATS)
def test_a_report_takes_the_place_of_an_earlier_one_and_of_an_empty_file(place: Path, format_: str) -> None:
    (place / "other.json").write_bytes(to_bytes(clean()))
    (place / "it").touch()
    for document in ("audit.json", "other.json", "audit.json"):
        done = inside("report", document, "--format", format_, "-o", "it", cwd=place)
        assert done.returncode == 0, done.stderr
    inside("report", "audit.json", "--format", format_, "-o", "fresh", cwd=place)
    assert (place / "it").read_bytes() == (place / "fresh").read_bytes()


def test_several_reports_are_written_or_none(place: Path) -> None:
    (place / "out").mkdir()
    (place / "out" / "audit.csv").write_bytes(OTHERS["results.csv"])
    refused(place, "out/audit.csv", "report", "audit.json", "--format", "html,csv", "-o", "out")
    with pytest.raises(UsageError, match=r"would write over .*audit\.csv"):
        Report(realistic()).save(place / "out", "html,csv")
    assert [path.name for path in (place / "out").iterdir()] == ["audit.csv"]


@pytest.mark.parametrize("verb", ["report", "gate"])
def test_the_folder_of_a_run_in_place_of_its_document_is_told_where_it_lies(place: Path, verb: str) -> None:
    done = inside(verb, place, cwd=place.parent)
    assert done.returncode == 2
    assert f"Give {place / 'audit.json'}." in " ".join(done.stderr.split())


@pytest.mark.parametrize("name", ["package.json", "mine.py", "README.md"])
def test_a_baseline_is_written_over_no_other_file(place: Path, name: str) -> None:
    (place / name).write_bytes(OTHERS[name])
    words = ("baseline", "write", "audit.json", "--reason", "x", "--expires", "2026-12-31", "--as-of", "2026-12-01")
    refused(place, name, *words, "-o", name)
    for _ in range(2):
        assert inside(*words, "-o", "accepted.json", cwd=place).returncode == 0
    edited = dict(reversed(json.loads((place / "accepted.json").read_bytes()).items()))
    (place / "accepted.json").write_text(json.dumps(edited, indent=1))  # by hand, in an order of one's own
    assert inside(*words, "-o", "accepted.json", cwd=place).returncode == 0


@pytest.mark.parametrize("turned", [False, True])
def test_a_baseline_that_an_editor_has_saved_is_one(place: Path, turned: bool) -> None:
    """Without white space, and after a byte order mark: what the gate reads is replaced."""
    words = ("baseline", "write", "audit.json", "--reason", "x", "--expires", "2026-12-31", "--as-of", "2026-12-01")
    assert inside(*words, "-o", "accepted.json", cwd=place).returncode == 0
    held = json.loads((place / "accepted.json").read_bytes())
    saved = dict(reversed(held.items())) if turned else held
    (place / "accepted.json").write_text(json.dumps(saved, separators=(",", ":")), encoding="utf-8-sig")
    done = inside(*words, "-o", "accepted.json", cwd=place)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "target"
    done = inside("train", "--data", "demo", "--hidden", "4", "--epochs", "5", "-o", folder, cwd=folder.parent)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.parametrize("name", ["audit.json", "audit.html", "run.json", "cells.jsonl", "audit.partial.json"])
def test_a_run_is_written_over_no_other_file(target: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text('{"mine": 1}\n')
    refused(tmp_path, f"out/{name}", "run", target, "--only", "strata", "--profile", "quick", "-o", "out")


def test_a_run_takes_the_place_of_an_earlier_one(target: Path, tmp_path: Path) -> None:
    words = (
        "run",
        target,
        "--only",
        "strata",
        "--profile",
        "quick",
        "--seeds",
        "0",
        "--format",
        "html,csv",
        "-o",
        "out",
    )
    for _ in range(2):
        done = inside(*words, cwd=tmp_path)
        assert done.returncode in (0, 1), done.stderr


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("model.safetensors", OTHERS["model.safetensors"]),
        ("split.npz", b"mine"),
        ("target.toml", b'[target]\nweights = "model.safetensors"\n\n[data]\nname = "cora"\n'),
        ("target.toml", b"not [toml"),
        ("guarantee.json", b"{}"),
    ],
)
def test_a_target_is_written_over_no_other_file(target: Path, tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_bytes(content)
    for words in (
        ("train", "--data", "demo", "--epochs", "5"),
        ("defend", target, "--defense", "temperature"),
        ("repair", target, "--errors", "test"),
    ):
        refused(tmp_path, f"out/{name}", *words, "-o", "out")


def test_a_target_takes_the_place_of_an_earlier_one(target: Path, tmp_path: Path) -> None:
    for words in (
        ("train", "--data", "demo", "--hidden", "4", "--epochs", "5"),
        ("defend", target, "--defense", "temperature"),
        ("train", "--data", "demo", "--hidden", "4", "--epochs", "5"),
    ):
        done = inside(*words, "-o", "out", cwd=tmp_path)
        assert done.returncode == 0, done.stderr


def test_a_run_removes_no_other_file_in_the_place_of_an_earlier_report(target: Path, tmp_path: Path) -> None:
    words = ("run", target, "--only", "strata", "--profile", "quick", "--seeds", "0", "-o", "out", "--format")
    assert inside(*words, "csv", cwd=tmp_path).returncode in (0, 1)
    (tmp_path / "out" / "audit.csv").write_bytes(OTHERS["results.csv"])
    refused(tmp_path, "out/audit.csv", *words, "html")
