"""Options that several verbs share, each with its help written once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from auditor.registry import LARGEST as LARGEST

MOST_EPOCHS = 1_000_000
"""As `[target.train]` takes them."""
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
Exposed = Annotated[
    int | None,
    typer.Option(
        min=0,
        metavar="N",
        help="Name the N most exposed edges and members by index, which is training data (default: 10; 0 for none).",
    ),
]
Data = Annotated[str | None, typer.Option(help="Data set, when TARGET is a model file.")]
DataRoot = Annotated[str | None, typer.Option(help="Folder of raw data sets (else AUDITOR_DATA).")]
TrustPickle = Annotated[
    bool, typer.Option("--trust-pickle", help="Unpickle a whole module: this runs code that came inside the file.")
]
Log = Annotated[str | None, typer.Option(help="Log the finished audit to a tracker as well: mlflow.")]
Plain = Annotated[bool | None, typer.Option("--plain", help="Plain lines, no live output (as where no terminal is).")]
Device = Annotated[
    str | None,
    typer.Option(help="Where models run: cpu (default), cuda, cuda:i, or auto. What is trained is trained on the CPU."),
]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Every number, check and id as tables.")]
Jobs = Annotated[str | None, typer.Option(help="Worker processes: auto (default, one a core) or a number.")]
CellTimeout = Annotated[
    float | None, typer.Option(help="Seconds after which a cell is ended (default: 20 x its estimate, at least 600).")
]
MaxMemory = Annotated[
    float | None, typer.Option(help="GB that one worker may take (default: its part of 3/4 of what is free).")
]
Resume = Annotated[
    bool | None, typer.Option("--resume/--fresh", help="Go on from an interrupted run in -o (default), or start over.")
]
DiscardModels = Annotated[
    bool | None,
    typer.Option("--discard-models", help="Keep no model that is trained on the way in -o after the run."),
]
MixedEnv = Annotated[
    bool | None,
    typer.Option("--accept-mixed-env", help="Go on although other versions or another device made what is there."),
]
