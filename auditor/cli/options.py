"""Options that several verbs share, each with its help written once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

TargetPath = Annotated[
    Path, typer.Argument(metavar="TARGET", help="Folder with target.toml, an audit.toml, or a model file with --data.")
]
AuditPath = Annotated[Path, typer.Argument(metavar="AUDIT.JSON", help="The document that auditor run wrote.")]
Only = Annotated[str | None, typer.Option(help="Probes to run: id or id:key=value, comma-separated.")]
Skip = Annotated[str | None, typer.Option(help="Probes to leave out.")]
Family = Annotated[str | None, typer.Option(help="Families to run: privacy, robustness, shift.")]
Profile = Annotated[str | None, typer.Option(help="Depth: quick, standard (default) or full.")]
Seeds = Annotated[str | None, typer.Option(help="Attack seeds, e.g. 0,1,2 (default: by profile).")]
TrainingSeeds = Annotated[
    int | None, typer.Option(help="Train the recipe anew so many times (at least 3) and audit those models too.")
]
Data = Annotated[str | None, typer.Option(help="Data set, when TARGET is a model file.")]
DataRoot = Annotated[str | None, typer.Option(help="Folder of raw data sets (else AUDITOR_DATA).")]
TrustPickle = Annotated[
    bool, typer.Option("--trust-pickle", help="Unpickle a whole module: this runs code that came inside the file.")
]
Plain = Annotated[bool | None, typer.Option("--plain", help="No boxes, no live output.")]
