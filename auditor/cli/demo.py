"""`auditor demo`: a small model on the bundled graph, trained and audited end to end."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer


def demo(
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the target, audit.json and audit.html.")] = Path(
        "auditor-demo"
    ),
    profile: Annotated[str, typer.Option(help="Depth: quick, standard (default) or full.")] = "standard",
    seed: Annotated[int, typer.Option(min=0, help="Seed of training and attacks.")] = 0,
) -> None:
    """Train a small GCN on the bundled graph and audit it. A failed gate exits 0 here: it is a demonstration."""
    from auditor.cli.console import prepare_folder, stderr
    from auditor.cli.session import Session
    from auditor.cli.training import say_trained, train_target

    prepare_folder(out)
    target = train_target("demo", out / "target", arch="gcn", hidden=16, seed=seed)
    say_trained(target, stderr())
    given = {"profile": profile, "seeds": str(seed), "out": str(out), "format": "html", "exit_zero": True}
    session = Session.open(out / "target", given)
    audit = session.run(session.load_target(), argv=tuple(sys.argv[1:]))
    session.show(audit)
    raise typer.Exit(audit.verdict.exit_code)
