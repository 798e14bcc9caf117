"""Shards of one run become its audit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import auditor
from auditor.document import canonical
from auditor.errors import ConfigError, UsageError
from tests.runner.hostile import hostile

WHAT = {"only": "strata,corruption", "profile": "quick", "seeds": [0, 1], "policy": "strict"}


def test_merged_shards_are_the_audit_of_one_run(tmp_path: Path) -> None:
    target = hostile(tmp_path / "t")
    whole = auditor.audit(target, out=tmp_path / "whole", **WHAT)  # type: ignore[arg-type]
    parts = [tmp_path / "1", tmp_path / "2"]
    for number, out in enumerate(parts, 1):
        part = auditor.audit(target, out=out, shard=f"{number}/2", **WHAT)  # type: ignore[arg-type]
        assert not part.verdict.passed
        assert not (out / "audit.json").exists()
    merged = auditor.merge(parts, out=tmp_path / "merged", formats=["markdown"])
    assert canonical(merged.document) == canonical(whole.document)
    assert (tmp_path / "merged" / "audit.md").is_file()
    assert auditor.Report.load(tmp_path / "merged").verdict == whole.verdict
    lacking = auditor.merge(parts[:1])
    assert not lacking.verdict.passed
    with pytest.raises(UsageError, match="one of the folders"):
        auditor.merge(parts, out=parts[0])
    with pytest.raises(UsageError, match="no folder was given"):
        auditor.merge([])


@pytest.fixture(scope="module")
def shard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shard")
    auditor.audit(hostile(folder / "t"), out=folder / "1", shard="1/2", **WHAT)  # type: ignore[arg-type]
    return folder / "1"


def test_a_shard_needs_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="give -o"):
        auditor.audit(hostile(tmp_path / "t"), shard="1/2", **WHAT)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["audit.json", "audit.md", "audit.partial.json", "run.json", "cells.jsonl"])
def test_a_folder_in_the_place_of_a_file_is_refused_before_anything_runs(tmp_path: Path, name: str) -> None:
    target, out = hostile(tmp_path / "t"), tmp_path / "out"
    (out / name).mkdir(parents=True)
    with pytest.raises(UsageError, match="it is a folder"):
        auditor.audit(target, out=out, formats=["markdown"], **WHAT)  # type: ignore[arg-type]
    assert [path.name for path in out.iterdir()] == [name]


@pytest.mark.parametrize(
    ("where", "what"),
    [
        (("header", "options"), {}),
        (("header", "options", "exit_zero"), "yes"),
        (("header", "tables"), {"policy": 5}),
        (("header", "tables"), {"gate": [1]}),
        (("header", "described", "cells"), []),
    ],
)
def test_a_run_file_that_no_run_wrote_is_refused(
    tmp_path: Path, shard: Path, where: tuple[str, ...], what: object
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(shard, copy)
    run = json.loads((copy / "run.json").read_bytes())
    place = run
    for name in where[:-1]:
        place = place[name]
    place[where[-1]] = what
    (copy / "run.json").write_text(json.dumps(run))
    with pytest.raises(UsageError, match=r"run\.json"):
        auditor.merge([copy], out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
