"""`merge`: the audit whose cells several machines have carried out. What the command of this name calls."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from auditor.api.options import DEFAULTS, Resolved, Setting
from auditor.api.report import Report
from auditor.api.session import UNRECORDED, Session
from auditor.errors import UsageError
from auditor.runner.record import RUN, Header, Record
from auditor.runner.running import assembled
from auditor.runner.shards import joined_shards
from auditor.targets.config import parse_target_file

if TYPE_CHECKING:
    Place = str | os.PathLike[str]


def merge(
    folders: Iterable[Place],
    *,
    out: Place | None = None,
    formats: str | Iterable[str] | None = (),
    baseline: Place | None = None,
    exit_zero: bool | None = None,
    log: str | None = None,
) -> Report:
    """Joins what `audit(..., shard="i/n", out=...)` left in several folders; nothing is measured again.

    The document is the one that a single run would have written. Cells that no folder holds are missing from it, and
    the verdict says so.

    Args:
        folders: of the shards, or of runs that were interrupted.
        out: folder for `audit.json` and the reports; none of `folders`.
        formats: reports to write beside `audit.json`; None for none.
        baseline: path of accepted results.
        exit_zero: a failed gate has exit code 0.
        log: a tracker that the audit is logged to besides: `"mlflow"`.

    Raises:
        UsageError: a folder holds no run, they are parts of different runs, or `out` is one of them.
    """
    places = [Path(folder) for folder in folders]
    header, found = joined_shards(places)
    if out is not None and Path(out).resolve() in [place.resolve() for place in places]:
        raise UsageError(f"-o {os.fspath(out)} is one of the folders to merge. Choose another one.")
    _check(header)
    given = {
        "out": "" if out is None else os.fspath(out),
        "format": formats if isinstance(formats, str) else ",".join(formats or ()),
        "log": log or "",
        "baseline": "" if baseline is None else os.fspath(baseline),
        "exit_zero": header.options["exit_zero"] if exit_zero is None else exit_zero,
    }
    options = {name: Setting(value, RUN) for name, value in {**header.options, **given}.items()}
    session = Session(Path(), Resolved(options, header.tables))
    settings, accepted = session.settings(header.argv, header.config_file), session.baseline()
    session.check_out()
    with Record.opened(session.out) as record:
        record.begin(header, fresh=True)
        for done in found.values():
            record.add(done)
        seconds = sum(done.row.seconds for done in found.values())
        return session.keep(assembled(header.described, found, settings, seconds=seconds, baseline=accepted), record)


def _check(header: Header) -> None:
    """Raises UsageError where options or tables are not those that a run records."""
    parse_target_file(header.tables, where=RUN)
    recorded = {name: default for name, default in DEFAULTS.items() if name not in UNRECORDED}
    wrong = [name for name, default in recorded.items() if type(header.options.get(name)) is not type(default)]
    if wrong:
        raise UsageError(
            f"{RUN} lacks the options {', '.join(wrong)}, or they are of another type; expected what auditor run "
            "--shard wrote. Run the shard again."
        )
