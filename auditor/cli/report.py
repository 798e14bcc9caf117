"""`auditor report`: renders an existing audit again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from auditor.cli import judging, options


def report(
    audit_json: options.AuditPath,
    format_: Annotated[str, typer.Option("--format", help="Report formats, comma-separated.")] = "terminal",
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="A file for one format, a folder for several.")
    ] = None,
    exposed: Annotated[
        int | None,
        typer.Option(min=0, metavar="N", help="Name at most N edges and members a list; 0 leaves all of them out."),
    ] = None,
    plain: options.Plain = None,
    verbose: options.Verbose = False,
) -> None:
    """Render an audit in any format; nothing is computed again."""
    from auditor import registry
    from auditor.api.files import check_replaced, prepare_folder, spare, write_file
    from auditor.cli.console import is_plain, note, stdout, write_data
    from auditor.document import naming
    from auditor.errors import UsageError

    audit = judging.read_audit(audit_json)
    if exposed is not None:
        audit = naming(audit, exposed)
    names = list(dict.fromkeys(name.strip() for name in format_.split(",") if name.strip()))
    if not names:
        raise UsageError(f"--format is empty. Known: {', '.join(registry.entries('reports'))}.")
    reports = [registry.find("reports", name).load()() for name in names]
    if len(reports) == 1 and out is None:
        if names == ["terminal"]:
            reports[0].print(audit, stdout(), plain=is_plain(plain), verbose=verbose, path=str(audit_json))
        else:
            write_data(reports[0].render(audit))
        return
    if out is None:
        raise UsageError("several formats need a folder: give -o DIR.")
    alone = len(reports) == 1 and not os.path.isdir(out)
    places = [spare(audit_json, out if alone else out / each.filename) for each in reports]
    prepare_folder(out.parent if alone else out)
    for place, each in zip(places, reports, strict=True):
        check_replaced(place, each.opening)
    for place, each in zip(places, reports, strict=True):
        write_file(place, each.render(audit))
        note(f"written: {place}")
