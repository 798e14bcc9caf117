"""The output folder is a transaction: what is complete stays, what is finished is not run again."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import pytest

from auditor import __version__
from auditor.document import CellRow, Estimate, Measured, Metric, measured
from auditor.errors import UsageError
from auditor.replacing import replace_file
from auditor.runner.finished import Finished, from_line, to_line
from auditor.runner.plan import PlannedCell
from auditor.runner.record import Described, Header, Record, holds_models, read_cells, read_run
from auditor.runner.shards import Shard, joined_shards
from tests.runner.running import PLACE

KEYS = ("a", "b", "c")


def planned(key: str, spec: str = "strata", seed: int = 0) -> PlannedCell:
    return PlannedCell(spec=spec, seed=seed, profile="quick", key=key)


def header(keys: tuple[str, ...] = KEYS, **environment: Any) -> Header:
    cells = tuple(planned(key, seed=i) for i, key in enumerate(keys))
    described = Described(target=PLACE, validity=(), cells=cells, environment={"torch": "2.13", **environment})
    return Header(version=__version__, described=described, seeds=(0, 1, 2), profile="quick", options={}, tables={})


def number(value: float) -> Measured:
    metric = Metric("accuracy", "share", "lower", "damage")
    return measured(metric, Estimate(value=value, lo=0.0, hi=1.0, n=7), finding="shift-gap")


def done(key: str, status: str = "ok", value: float = 1 / 3) -> Finished:
    row = CellRow(key=key, probe="strata", family="shift", seed=KEYS.index(key), status=status, params={"x": [1, 0.1]})  # type: ignore[arg-type]
    return Finished(row, ("graph",), (number(value),) if status == "ok" else ())


def test_a_line_gives_the_same_cell_to_the_last_digit() -> None:
    for value in (1 / 3, 0.1 + 0.2, 5e-324, 1.0):
        assert from_line(to_line(done("a", value=value))) == done("a", value=value)


@pytest.mark.parametrize("line", [b"", b"{}", b"null", to_line(done("a"))[:-9], b'{"row": 1}', b"\xff"])
def test_what_is_no_line_is_no_cell(line: bytes) -> None:
    with pytest.raises(ValueError, match="finished cell"):
        from_line(line)


def test_without_a_folder_nothing_is_kept() -> None:
    with Record.opened(None) as record:
        assert record.begin(header()) == {}
        record.add(done("a"))
        record.commit({"audit.json": b"{}"})


def test_an_interrupted_run_goes_on_where_it_was(tmp_path: Path) -> None:
    with Record.opened(tmp_path) as record:
        record.begin(header())
        record.add(done("a"))
        record.add(done("b", "error"))
        record.add(done("c"))
    with (tmp_path / "cells.jsonl").open("ab") as lines:
        lines.write(to_line(done("b"))[:40])  # torn by a kill
    with Record.opened(tmp_path) as record:
        kept = record.begin(header())
    assert kept == {"a": done("a"), "c": done("c")}  # what broke off is tried again
    assert read_cells(tmp_path) == kept


@pytest.mark.parametrize("damage", ["digit", "digest", "half", "unsealed", "not json"])
def test_a_line_that_is_damaged_in_place_is_said_and_run_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    with Record.opened(tmp_path) as record:
        record.begin(header())
        for key in KEYS:
            record.add(done(key))
    first, second, third = (tmp_path / "cells.jsonl").read_bytes().splitlines(keepends=True)
    second = {
        "digit": second.replace(b"0.3333333333333333", b"0.3333333333333433"),
        "digest": second.replace(second[11:12], b"0" if second[11:12] != b"0" else b"1", 1),
        "half": second[:200] + b"\n",
        "unsealed": to_line(done("b")) + b"\n",
        "not json": b"\xff\x00" + second,
    }[damage]
    (tmp_path / "cells.jsonl").write_bytes(first + second + third)
    with Record.opened(tmp_path) as record:
        assert record.begin(header()) == {"a": done("a"), "c": done("c")}
    assert "cells.jsonl: damaged lines are left out (1)" in caplog.text
    assert list(read_cells(tmp_path)) == ["a", "c"]


def test_a_torn_last_line_is_not_worth_a_word(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    shard(tmp_path, done("a"), done("b"))
    raw = (tmp_path / "cells.jsonl").read_bytes()
    (tmp_path / "cells.jsonl").write_bytes(raw[:-1])
    assert list(read_cells(tmp_path)) == ["a"]
    assert not caplog.text


DIGEST, OTHER = (f"{letter * 64}.safetensors" for letter in "ab")


def with_models(folder: Path, *names: str, used: tuple[str, ...] = (), **how: Any) -> None:
    """A run that keeps models under these names; a finished cell has used some of them."""
    with Record.opened(folder, discard_models=how.pop("discard", False)) as record:
        record.begin(header(), models=True, **how)
        for name in names:
            (folder / "models" / name).write_bytes(b"x")
        record.add(dataclasses.replace(done("a"), models=used))
        record.commit({"audit.json": b"1"})


def kept_in(folder: Path) -> set[str]:
    return {path.name for path in (folder / "models").iterdir()} if (folder / "models").is_dir() else set()


def test_the_models_that_cells_used_stay_and_are_in_the_manifest(tmp_path: Path) -> None:
    with_models(tmp_path, DIGEST, OTHER, f"{DIGEST}.12.part", "mine.safetensors", used=(DIGEST,))
    assert kept_in(tmp_path) == {DIGEST, "mine.safetensors"}
    file = read_run(tmp_path)
    assert file is not None
    assert file.files == ("audit.json", f"models/{DIGEST}")
    with_models(tmp_path)  # a run that uses none of them
    assert kept_in(tmp_path) == {"mine.safetensors"}


def test_fresh_removes_the_models_of_an_interrupted_run_and_nothing_else(tmp_path: Path) -> None:
    with Record.opened(tmp_path) as record:
        record.begin(header(), models=True)
        for name in (DIGEST, "mine"):
            (tmp_path / "models" / name).write_bytes(b"x")
    with Record.opened(tmp_path) as record:
        record.begin(header(), models=True)
        assert kept_in(tmp_path) == {DIGEST, "mine"}
    with Record.opened(tmp_path) as record:
        record.begin(header(), models=True, fresh=True)
        assert kept_in(tmp_path) == {"mine"}


def test_discarded_models_are_there_during_the_run_alone(tmp_path: Path) -> None:
    with Record.opened(tmp_path, discard_models=True) as record:
        record.begin(header(), models=True)
        assert holds_models(tmp_path / "models")
        (tmp_path / "models" / DIGEST).write_bytes(b"x")
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_what_the_user_calls_models_is_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str) -> None:
    mine, elsewhere = tmp_path / "out" / "models", tmp_path / "elsewhere"
    mine.parent.mkdir()
    elsewhere.mkdir()
    (elsewhere / DIGEST).write_bytes(b"mine")
    if kind == "file":
        mine.write_bytes(b"mine")
    elif kind == "folder":
        mine.mkdir()
        (mine / DIGEST).write_bytes(b"mine")
    else:
        mine.symlink_to(elsewhere)
    for fresh in (False, True):
        with Record.opened(mine.parent, discard_models=fresh) as record:
            record.begin(header(), models=True, fresh=fresh)
            assert not holds_models(mine)
            record.commit({"audit.json": b"1"})
        assert "not kept" in caplog.text
    assert (mine if kind == "file" else mine / DIGEST).read_bytes() == b"mine"


def test_a_folder_that_was_replaced_since_is_no_longer_ours(tmp_path: Path) -> None:
    with_models(tmp_path, DIGEST, used=(DIGEST,))
    (tmp_path / "models" / DIGEST).unlink()
    (tmp_path / "models").rmdir()
    (tmp_path / "models").write_bytes(b"mine")
    with Record.opened(tmp_path) as record:
        record.begin(header(), models=True, fresh=True)
        record.commit({"audit.json": b"1"})
    assert (tmp_path / "models").read_bytes() == b"mine"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes that have a name")
@pytest.mark.parametrize("kind", ["pipe", "link"])
def test_what_lies_at_a_temporary_name_is_not_written_to(tmp_path: Path, kind: str) -> None:
    other, part = tmp_path / "other", tmp_path / "a.json.part"
    other.write_bytes(b"mine")
    os.mkfifo(part) if kind == "pipe" else part.symlink_to(other)
    replace_file(tmp_path / "a.json", b"1")
    assert (tmp_path / "a.json").read_bytes() == b"1"
    assert not (tmp_path / "a.json").is_symlink()
    assert other.read_bytes() == b"mine"


def test_a_folder_at_a_temporary_name_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json.part").mkdir()
    with pytest.raises(UsageError, match="cannot write"):
        replace_file(tmp_path / "a.json", b"1")


def test_cells_of_another_device_are_refused_and_named(tmp_path: Path) -> None:
    with Record.opened(tmp_path) as record:
        record.begin(header(device="cpu"))
        record.add(done("a"))
    with Record.opened(tmp_path) as record:
        with pytest.raises(UsageError, match=r"device cpu \(now cuda \(H200\)\).*--accept-mixed-env"):
            record.begin(header(device="cuda (H200)"))
        assert list(record.begin(header(device="cuda (H200)"), mixed=True)) == ["a"]
    assert read_run(tmp_path).header.described.environment["device"] == "cuda (H200)"  # type: ignore[union-attr]


def test_a_complete_run_is_not_gone_on_with(tmp_path: Path) -> None:
    with Record.opened(tmp_path) as record:
        record.begin(header())
        record.add(done("a"))
        record.commit({"audit.json": b"1"})
    with Record.opened(tmp_path) as record:
        assert record.begin(header()) == {}
    assert (tmp_path / "audit.json").read_bytes() == b"1"


def test_fresh_and_other_cells_start_over(tmp_path: Path) -> None:
    for again, kept in ((header(("x", "y")), {}), (header(), {}), (header(), {})):
        with Record.opened(tmp_path) as record:
            assert record.begin(again, fresh=True) == kept
            record.add(done("a"))
    with Record.opened(tmp_path) as record:
        assert record.begin(header(("b", "a"))) == {"a": done("a")}


def test_cells_of_another_environment_are_taken_only_when_asked_to(tmp_path: Path) -> None:
    with Record.opened(tmp_path) as record:
        record.begin(header())
        record.add(done("a"))
    other = header(torch="2.14")
    with Record.opened(tmp_path) as record, pytest.raises(UsageError, match=r"torch 2\.13 \(now 2\.14\)"):
        record.begin(other)
    assert read_cells(tmp_path) == {"a": done("a")}
    with Record.opened(tmp_path) as record:
        assert list(record.begin(other, mixed=True)) == ["a"]


def test_the_last_complete_document_stays_until_the_next_one_is(tmp_path: Path) -> None:
    with Record.opened(tmp_path) as record:
        record.begin(header())
        record.commit({"audit.json": b"1", "audit.html": b"1"})
    (tmp_path / "notes.txt").write_text("mine")
    with Record.opened(tmp_path) as record:
        record.begin(header())
        record.partial(b"half")
    assert (tmp_path / "audit.json").read_bytes() == b"1"
    assert (tmp_path / "audit.partial.json").read_bytes() == b"half"
    with Record.opened(tmp_path) as record:
        record.begin(header())
        record.commit({"audit.json": b"2", "audit.md": b"2"})
    here = {path.name for path in tmp_path.iterdir()} - {".auditor.lock"}
    assert here == {"audit.json", "audit.md", "cells.jsonl", "run.json", "notes.txt"}  # audit.html was of the first


def test_a_manifest_cannot_name_files_elsewhere(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    out = tmp_path / "out"
    with Record.opened(out) as record:
        record.begin(header())
        record.commit({"audit.json": b"1"})
    file = read_run(out)
    assert file is not None
    names = ("../victim", str(victim), "errors/../../victim", "..", ".")
    (out / "run.json").write_text(file.model_copy(update={"files": names}).model_dump_json())
    with Record.opened(out) as record:
        record.begin(header())
        record.commit({"audit.json": b"2"})
    assert victim.read_text() == "mine"


def test_a_folder_belongs_to_one_run_at_a_time(tmp_path: Path) -> None:
    with (
        Record.opened(tmp_path),
        pytest.raises(UsageError, match="another run is writing"),
        Record.opened(tmp_path),
    ):
        pass
    with Record.opened(tmp_path):
        pass


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(UsageError, match="cannot write"), Record.opened(tmp_path / "out"):
        pass


def of_families() -> tuple[PlannedCell, ...]:
    specs = ("strata", "corruption", "structure-evasion", "graphmi", "posterior-similarity")
    return tuple(planned(f"{spec}{seed}", spec, seed) for spec in specs for seed in (0, 1, 2))


@pytest.mark.parametrize("of", [1, 2, 3, 4, 15, 20])
def test_shards_part_the_plan(of: int) -> None:
    cells = of_families()
    parts = [Shard(number, of).of_cells(cells) for number in range(1, of + 1)]
    assert sorted(cell.key for part in parts for cell in part) == sorted(cell.key for cell in cells)
    assert sum(map(bool, parts)) == min(of, len(cells))


@pytest.mark.parametrize("text", ["", "1", "0/2", "3/2", "a/b", "1/2/3", "-1/2", "1/99999999999", "1.0/2"])
def test_what_is_no_shard_is_refused(text: str) -> None:
    from auditor.errors import ConfigError

    with pytest.raises(ConfigError, match="expected i/n"):
        Shard.parse(text)


def shard(folder: Path, *cells: Finished, of: Header | None = None) -> Path:
    with Record.opened(folder) as record:
        record.begin(of or header())
        for cell in cells:
            record.add(cell)
    return folder


def test_shards_are_joined(tmp_path: Path) -> None:
    slower = dataclasses.replace(done("a"), row=done("a").row.model_copy(update={"seconds": 9.0}))
    folders = [shard(tmp_path / "1", done("a")), shard(tmp_path / "2", done("b"), slower)]
    joined, found = joined_shards(folders)
    assert found == {"a": done("a"), "b": done("b")}
    assert joined == header()


def test_a_cell_that_broke_off_in_one_folder_and_not_in_another_is_the_finished_one(tmp_path: Path) -> None:
    folders = [shard(tmp_path / "1", done("a", "error")), shard(tmp_path / "2", done("a"))]
    for order in (folders, folders[::-1]):
        assert joined_shards(order)[1] == {"a": done("a")}


def test_what_does_not_belong_together_is_not_joined(tmp_path: Path) -> None:
    one = shard(tmp_path / "1", done("a"))
    with pytest.raises(UsageError, match="holds no run"):
        joined_shards([one, tmp_path / "nowhere"])
    with pytest.raises(UsageError, match=r"differ in torch\. Run"):
        joined_shards([one, shard(tmp_path / "2", of=header(torch="1"))])
    asked = header().model_copy(update={"seeds": (0,), "options": {"only": "strata"}, "tables": {"access": {}}})
    with pytest.raises(UsageError, match=r"differ in seeds, only, \[access\]. Run"):
        joined_shards([one, shard(tmp_path / "4", of=asked)])
    with pytest.raises(UsageError, match="other numbers for strata seed 0"):
        joined_shards([one, shard(tmp_path / "3", done("a", value=0.5))])


def test_parts_that_another_version_ran_are_not_joined_in_the_name_of_this_one(tmp_path: Path) -> None:
    older = header().model_copy(update={"version": "0.1.9"})
    with pytest.raises(UsageError, match=f"made by auditor 0.1.9, and this is {__version__}"):
        joined_shards([shard(tmp_path / name, done(name), of=older) for name in "ab"])


def test_a_cell_that_is_not_in_the_plan_is_not_dropped_in_silence(tmp_path: Path) -> None:
    fewer = header().model_copy(update={"described": header(("a", "b")).described})
    with pytest.raises(UsageError, match=r"holds strata seed 2, which .*run.json does not plan"):
        joined_shards([shard(tmp_path / "1", done("a"), done("c"), of=fewer)])


def test_kept_edits_go_on_with_an_interrupted_run_and_leave_with_the_next(tmp_path: Path) -> None:
    with_edits = dataclasses.replace(done("a"), edits="ZWRpdHM=")
    with Record.opened(tmp_path) as record:
        record.begin(header())
        record.add(with_edits)
    assert not (tmp_path / "perturbations").exists()  # nothing of a run that is not complete
    with Record.opened(tmp_path) as record:
        record.begin(header())
        record.commit({"audit.json": b"1"})
    assert (tmp_path / "perturbations" / "a.npz").read_bytes() == b"edits"
    with Record.opened(tmp_path) as record:
        record.begin(header())
        assert not record.holds_edits
        record.commit({"audit.json": b"2"})
    assert not (tmp_path / "perturbations").exists()
