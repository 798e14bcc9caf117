"""`auditor demo`: a small model on the bundled graph, trained and audited end to end."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from auditor.cli import options


def demo(
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the target, audit.json and audit.html.")] = Path(
        "auditor-demo"
    ),
    profile: Annotated[str, typer.Option(help="Depth: quick, standard (default) or full.")] = "standard",
    seed: Annotated[int, typer.Option(min=0, max=options.LARGEST, help="Seed of training and attacks.")] = 0,
    verbose: options.Verbose = False,
) -> None:
    """Train a small GCN on the bundled graph and audit it. A failed gate exits 0 here: it is a demonstration."""
    from auditor.api.auditing import audit
    from auditor.api.files import prepare_folder
    from auditor.api.session import Session
    from auditor.cli.console import show, stderr
    from auditor.cli.progress import observe
    from auditor.cli.training import say_trained, train_target
    from auditor.targets.config import check_replaced_target

    prepare_folder(out)
    check_replaced_target(out / "target")
    target = train_target("demo", out / "target", arch="gcn", hidden=16, seed=seed)
    say_trained(target, stderr())
    options: dict[str, Any] = {"profile": profile, "seeds": str(seed), "out": str(out), "exit_zero": True}
    with observe() as observer:
        report = audit(out / "target", formats=["html"], progress=observer, argv=sys.argv[1:], **options)
    show(report, Session.open(out / "target", {**options, "format": "html"}), verbose=verbose)
    raise typer.Exit(report.verdict.exit_code)
