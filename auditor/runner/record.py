"""The output folder of a run, as a transaction: the last complete document stays until the next one is complete.

```
DIR/run.json            what was asked for, of which target, in which environment; the files here that are ours
DIR/cells.jsonl         one line a finished cell, on the disk before the next one begins: a resumed run goes on
DIR/audit.json, …       the last complete document and its reports, renamed into place together
DIR/audit.partial.json  what an interrupted run had
DIR/errors/             tracebacks of cells that broke off
DIR/perturbations/      verified edits, where they are kept, see `auditor.runner.perturbations`
DIR/models/             models that were trained on the way, see `auditor.runner.kept_models`
```
"""

from __future__ import annotations

import base64
import hashlib
import logging
import os
import re
import shutil
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
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
from auditor.runner import perturbations
from auditor.runner.finished import Finished, from_line, to_line
from auditor.runner.plain import Ground
from auditor.runner.plan import PlannedCell

LOG = logging.getLogger("auditor")
RUN: Final = "run.json"
CELLS: Final = "cells.jsonl"
DOCUMENT: Final = "audit.json"
PARTIAL: Final = "audit.partial.json"
ERRORS: Final = "errors"
MODELS: Final = "models"
LOCK: Final = ".auditor.lock"
OPENINGS: Final = {RUN: r'\{\s*"header":', CELLS: r'\{"sha256":"'}
"""How these files begin: another one of such a name is somebody's."""
LEAST_FREE: Final = 16 * 1024 * 1024
"""Bytes that must be free before a run begins: a document and its reports."""
MOST_BYTES: Final = 1024 * 1024 * 1024
KEPT: Final = re.compile(r"[0-9a-f]{64}\.safetensors(\.\d+\.part)?", re.ASCII)
"""What a kept model is called, and one that was being written."""
SEALED: Final = re.compile(rb'\{"sha256":"([0-9a-f]{64})","cell":(.*)\}')
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
        models: the folder `models` was made by a run: what lies there under a digest is ours.
    """

    header: Header | None = None
    complete: bool = False
    files: tuple[str, ...] = ()
    models: bool = False


@dataclass(slots=True)
class Record:
    """What a run leaves behind while it runs; without a folder, nothing.

    Attributes:
        folder: None for nowhere.
        discards_models: none of those that were trained on the way is kept after the run.
    """

    folder: Path | None = None
    discards_models: bool = False
    _file: RunFile = field(default_factory=RunFile)
    _errors: list[str] = field(default_factory=list)
    _models: set[str] = field(default_factory=set)
    _edits: dict[str, str] = field(default_factory=dict)

    @classmethod
    @contextmanager
    def opened(cls, folder: Path | None, *, discard_models: bool = False) -> Iterator[Record]:
        """The record in `folder`, which is made if missing and is nobody else's until the end.

        Args:
            folder: None for nowhere.
            discard_models: of those that were trained on the way none is kept at the end.

        Raises:
            UsageError: the folder cannot be written, is full, or belongs to a run that is under way.
        """
        if folder is None:
            yield cls()
            return
        place = folder.resolve()  # whatever becomes of the working directory
        with _locked(place, folder):
            record = cls(place, discard_models, read_run(place) or RunFile())
            try:
                yield record
            finally:
                if discard_models:
                    record._remove_models()
                if record._file.models:
                    with suppress(OSError):
                        (place / MODELS).rmdir()  # where nothing was trained

    def begin(
        self, header: Header | None, *, fresh: bool = False, mixed: bool = False, models: bool = False
    ) -> dict[str, Finished]:
        """Notes what is run from now on, and gives the cells of an interrupted run that need not run again, by key.

        Args:
            header: None for a run that cannot be resumed.
            fresh: starts over.
            mixed: takes cells that another environment made.
            models: keeps those that are trained on the way.

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
        replace_file(self.folder / CELLS, b"".join(map(sealed, kept.values())))
        if fresh:
            self._remove_models()
        self._models = {name for done in kept.values() for name in done.models}
        self._edits = {key: done.edits for key, done in kept.items() if done.edits}
        ours = self._made_models() if models else before.models
        self._file = RunFile(header=header, files=before.files, models=ours)
        self._write_run()
        return kept

    def add(self, finished: Finished) -> None:
        """One more line; it is on the disk when this returns."""
        if self.folder is None:
            return
        self._models.update(finished.models)
        if finished.edits:
            self._edits[finished.row.key] = finished.edits
        try:
            with (self.folder / CELLS).open("ab") as lines:
                lines.write(sealed(finished))
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

    @property
    def holds_edits(self) -> bool:
        """Whether a cell of this run has left edits of the private graph in the folder."""
        return bool(self._edits)

    def commit(self, files: Mapping[str, bytes]) -> None:
        """Puts the files of a complete run, kept edits among them, in the place of the last one's, all together.

        Raises:
            UsageError: one cannot be written.
        """
        if self.folder is None:
            return
        parts = {name: part_of(self.folder / name, raw) for name, raw in files.items()}
        if self._edits:
            self._make_folder(self.folder / perturbations.FOLDER)
        for key, text in self._edits.items():
            name = perturbations.name_of(key)
            parts[name] = part_of(self.folder / name, base64.b64decode(text))
        for name, part in parts.items():
            rename(part, self.folder / name)
        kept = self._remove_models(but=() if self.discards_models else self._models)
        ours = (*parts, *self._errors, *(f"{MODELS}/{name}" for name in kept))
        for name in {*self._file.files, PARTIAL} - set(ours):
            if _is_inside(name) and (self.folder / name).is_file():
                (self.folder / name).unlink()
        if not self._edits and _is_folder(place := self.folder / perturbations.FOLDER):
            with suppress(OSError):
                place.rmdir()  # where the last run kept some
        self._file = self._file.model_copy(update={"complete": True, "files": ours})
        self._write_run()

    @staticmethod
    def _make_folder(place: Path) -> None:
        """Raises UsageError where no folder can be there; what lies in one of the user's is left."""
        try:
            place.mkdir(exist_ok=True)
        except OSError as error:
            raise unwritable(place, error) from None
        if place.is_symlink():
            raise UsageError(f"{place} is a link; expected a folder. Choose another place with -o.")

    def _made_models(self) -> bool:
        """Whether the folder of the kept models is ours: made now, or by a run before. One of the user's is left."""
        assert self.folder is not None
        place = self.folder / MODELS
        try:
            place.mkdir()
        except FileExistsError:
            ours = self._file.models and _is_folder(place)
            why = "was there before, and nothing of yours is touched"
        except OSError as error:
            ours, why = False, f"cannot be made: {error.strerror}"
        else:
            return True
        if not ours:
            LOG.warning("models trained on the way are not kept: %s %s", place, why)
        return ours

    def _remove_models(self, but: Collection[str] = ()) -> list[str]:
        """Removes the kept models that are not named; the names of those that are left."""
        if self.folder is None or not self._file.models or not _is_folder(place := self.folder / MODELS):
            return []
        with suppress(OSError):
            for path in place.iterdir():
                if KEPT.fullmatch(path.name) and path.name not in but:
                    with suppress(OSError):
                        path.unlink()
        return sorted(name for name in but if (place / name).is_file())

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


def sealed(finished: Finished) -> bytes:
    """The line of a cell in the record, and its sha256 before it."""
    line = to_line(finished)
    return b'{"sha256":"%b","cell":%b}\n' % (hashlib.sha256(line).hexdigest().encode(), line)


def read_cells(folder: Path) -> dict[str, Finished]:
    """The finished cells of a folder, by key.

    A last line that was torn by a kill is left out; so is one that is not what was written, and that is said.
    """
    found, damaged = {}, 0
    *lines, _torn = (_held(folder / CELLS) or b"").split(b"\n")
    for line in lines:
        match = SEALED.fullmatch(line)
        try:
            if match is None or hashlib.sha256(match[2]).hexdigest().encode() != match[1]:
                raise ValueError
            done = from_line(match[2])
        except ValueError:
            damaged += 1
            continue
        found[done.row.key] = done
    if damaged:
        LOG.warning("%s: damaged lines are left out (%d), and their cells count as not run", folder / CELLS, damaged)
    return found


def holds_models(folder: Path) -> bool:
    """Whether `folder` is where the run in the folder above keeps what it trains on the way."""
    file = read_run(folder.parent) if _is_folder(folder) else None
    return file is not None and file.models


def _is_folder(place: Path) -> bool:
    return place.is_dir() and not place.is_symlink()


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
    """Whether a name that a file gave us is that of a file of ours: in the folder itself, or one below it."""
    path = PurePath(name)
    return path.name != ".." and path.parts in ((path.name,), (ERRORS, path.name), (perturbations.FOLDER, path.name))


def _same_environment(before: Header, now: Header, folder: Path) -> None:
    old = {"auditor": before.version, **before.described.environment}
    new = {"auditor": now.version, **now.described.environment}
    changed = [f"{name} {old.get(name)} (now {new.get(name)})" for name in old | new if old.get(name) != new.get(name)]
    if changed:
        raise UsageError(
            f"{folder.name} holds an interrupted run made with {', '.join(changed)}; its numbers and new ones do not "
            "belong in one document. Give --fresh to start over, or --accept-mixed-env to use them all the same."
        )
