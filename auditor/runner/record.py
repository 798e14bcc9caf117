"""The output folder of a run, as a transaction: the last complete document stays until the next one is complete.

```
DIR/run.json            what was asked for, of which target, in which environment; the files here that are ours
DIR/cells.jsonl         one line a finished cell, on the disk before the next one begins: a resumed run goes on
DIR/audit.json, …       the last complete document and its reports, renamed into place together
DIR/audit.partial.json  what an interrupted run had
DIR/errors/             tracebacks of cells that broke off
```
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any, Final

from filelock import FileLock, Timeout
from pydantic import ValidationError

from auditor.document import TargetRow, ValidityRow
from auditor.errors import UsageError
from auditor.reading.files import bytes_of
from auditor.records import Model
from auditor.registry import Profile
from auditor.replacing import part_of, rename, replace_file, unwritable
from auditor.runner.finished import Finished, from_line, to_line
from auditor.runner.plain import Ground
from auditor.runner.plan import PlannedCell

RUN: Final = "run.json"
CELLS: Final = "cells.jsonl"
DOCUMENT: Final = "audit.json"
PARTIAL: Final = "audit.partial.json"
ERRORS: Final = "errors"
LOCK: Final = ".auditor.lock"
LEAST_FREE: Final = 16 * 1024 * 1024
"""Bytes that must be free before a run begins: a document and its reports."""
MOST_BYTES: Final = 1024 * 1024 * 1024
REUSED: Final = frozenset({"ok", "skipped"})
"""How a cell must have ended for a resumed run to keep it; what broke off is tried again."""


class Claimed(Model):
    """What is known of a claim before anything is run.

    Attributes:
        pending: its cells, which hold the pre-registration.
        answered: its cells where no run is needed.
        registered: there is a plan.
        refused: the defence does not apply: nothing is planned.
        refuted: arithmetic alone refutes it.
        possible: an audit by the plan could refute it.
        runs: of the mechanism, that the plan will take; None where nothing is run.
        seconds: of all of them, roughly; None where nobody can know.
    """

    pending: tuple[Finished, ...]
    answered: tuple[Finished, ...] = ()
    registered: bool = False
    refused: bool = False
    refuted: bool = False
    possible: bool = False
    runs: int | None = None
    seconds: float | None = None


class Described(Model):
    """A loaded target and what is to be done with it, as plain values.

    Attributes:
        environment: what a rerun must share to give the same numbers.
        ground: what every arm is measured on, of a comparison.
        claim: what is known of it before anything runs, of an audited claim.
    """

    target: TargetRow
    validity: tuple[ValidityRow, ...]
    cells: tuple[PlannedCell, ...]
    environment: dict[str, Any]
    ground: Ground | None = None
    claim: Claimed | None = None


class Header(Model):
    """Everything that the document of a run says besides its cells.

    Attributes:
        options: every option, whatever it came from; `tables` are those of the config file that are no options.
        shard: `i/n` where the folder holds one part of the cells only.
    """

    version: str
    described: Described
    seeds: tuple[int, ...]
    profile: Profile
    options: dict[str, Any]
    tables: dict[str, Any]
    config_file: str = ""
    argv: tuple[str, ...] = ()
    shard: str = ""


class RunFile(Model):
    """`run.json`.

    Attributes:
        header: of the run under way, or of the last one; None where nothing can be resumed.
        complete: the documents in the folder are those of this header.
        files: names in the folder that are ours to replace.
    """

    header: Header | None = None
    complete: bool = False
    files: tuple[str, ...] = ()


@dataclass(slots=True)
class Record:
    """What a run leaves behind while it runs; without a folder, nothing."""

    folder: Path | None = None
    _file: RunFile = field(default_factory=RunFile)
    _errors: list[str] = field(default_factory=list)

    @classmethod
    @contextmanager
    def opened(cls, folder: Path | None) -> Iterator[Record]:
        """The record in `folder`, which is made if missing and is nobody else's until the end.

        Raises:
            UsageError: the folder cannot be written, is full, or belongs to a run that is under way.
        """
        if folder is None:
            yield cls()
            return
        place = folder.resolve()  # whatever becomes of the working directory
        with _locked(place, folder):
            yield cls(place, read_run(place) or RunFile())

    def begin(self, header: Header | None, *, fresh: bool = False, mixed: bool = False) -> dict[str, Finished]:
        """Notes what is run from now on, and gives the cells of an interrupted run that need not run again, by key.

        Args:
            header: None for a run that cannot be resumed.
            fresh: starts over.
            mixed: takes cells that another environment made.

        Raises:
            UsageError: they come from another environment.
        """
        if self.folder is None:
            return {}
        before = self._file
        kept: dict[str, Finished] = {}
        if header is not None and before.header is not None and not before.complete and not fresh:
            wanted = {cell.key for cell in header.described.cells}
            rows = read_cells(self.folder)
            kept = {key: done for key, done in rows.items() if key in wanted and done.row.status in REUSED}
            if kept and not mixed:
                _same_environment(before.header, header, self.folder)
        replace_file(self.folder / CELLS, b"".join(to_line(done) + b"\n" for done in kept.values()))
        self._file = RunFile(header=header, files=before.files)
        self._write_run()
        return kept

    def add(self, finished: Finished) -> None:
        """One more line; it is on the disk when this returns."""
        if self.folder is None:
            return
        try:
            with (self.folder / CELLS).open("ab") as lines:
                lines.write(to_line(finished) + b"\n")
                lines.flush()
                os.fsync(lines.fileno())
        except OSError as error:
            raise unwritable(self.folder / CELLS, error) from None

    def trace(self, planned: PlannedCell, text: str) -> None:
        """Keeps the traceback of a cell that broke off."""
        if self.folder is None:
            return
        name = f"{planned.id}-{planned.key[:12]}.txt"
        try:
            (self.folder / ERRORS).mkdir(exist_ok=True)
            (self.folder / ERRORS / name).write_text(text, encoding="utf-8", errors="backslashreplace")
        except OSError:
            return  # the row says what happened; a full disk must not take that too
        self._errors.append(f"{ERRORS}/{name}")

    def partial(self, raw: bytes) -> None:
        """The document of what there is so far, beside the last complete one."""
        if self.folder is not None:
            replace_file(self.folder / PARTIAL, raw)

    def commit(self, files: Mapping[str, bytes]) -> None:
        """Puts the files of a complete run in the place of the last one's, all together."""
        if self.folder is None:
            return
        parts = {name: part_of(self.folder / name, raw) for name, raw in files.items()}
        for name, part in parts.items():
            rename(part, self.folder / name)
        ours = (*files, *self._errors)
        for name in {*self._file.files, PARTIAL} - set(ours):
            if _is_inside(name) and (self.folder / name).is_file():
                (self.folder / name).unlink()
        self._file = self._file.model_copy(update={"complete": True, "files": ours})
        self._write_run()

    def _write_run(self) -> None:
        assert self.folder is not None
        replace_file(self.folder / RUN, self._file.model_dump_json(indent=1).encode())


def read_run(folder: Path) -> RunFile | None:
    """What `run.json` says; None where there is none, or none that this version can go on from."""
    raw = _held(folder / RUN)
    try:
        return None if raw is None else RunFile.model_validate_json(raw)
    except ValidationError:
        return None


def read_cells(folder: Path) -> dict[str, Finished]:
    """The finished cells of a folder, by key; a last line that was torn by a kill is left out."""
    found = {}
    for line in (_held(folder / CELLS) or b"").split(b"\n"):
        try:
            done = from_line(line)
        except ValueError:
            continue
        found[done.row.key] = done
    return found


def _held(path: Path) -> bytes | None:
    """The bytes of a file of ours; None where there is none."""
    if not path.exists():
        return None
    return bytes_of(
        path,
        error=UsageError,
        expected="a file that an earlier run wrote. Choose another folder with -o.",
        cap=MOST_BYTES,
    )


@contextmanager
def _locked(place: Path, shown: Path) -> Iterator[None]:
    try:
        place.mkdir(parents=True, exist_ok=True)
        lock = FileLock(place / LOCK, timeout=0)
        lock.acquire()
    except Timeout:
        raise UsageError(f"another run is writing to {shown}. Wait for it, or choose another folder with -o.") from None
    except OSError as error:
        raise unwritable(shown, error) from None
    try:
        if (free := shutil.disk_usage(place).free) < LEAST_FREE:
            raise UsageError(
                f"{shown} has {free / 2**20:.0f} MB left; expected at least {LEAST_FREE / 2**20:.0f} MB for a run. "
                "Free some space, or choose another folder with -o."
            )
        yield
    finally:
        lock.release()


def _is_inside(name: str) -> bool:
    """Whether a name that a file gave us is that of a file of ours: in the folder itself, or among its tracebacks."""
    path = PurePath(name)
    return path.name != ".." and path.parts in ((path.name,), (ERRORS, path.name))


def _same_environment(before: Header, now: Header, folder: Path) -> None:
    old = {"auditor": before.version, **before.described.environment}
    new = {"auditor": now.version, **now.described.environment}
    changed = [f"{name} {old.get(name)} (now {new.get(name)})" for name in old | new if old.get(name) != new.get(name)]
    if changed:
        raise UsageError(
            f"{folder.name} holds an interrupted run made with {', '.join(changed)}; its numbers and new ones do not "
            "belong in one document. Give --fresh to start over, or --accept-mixed-env to use them all the same."
        )
