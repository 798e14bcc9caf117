"""The command line. Verbs import torch only inside the functions that need it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Annotated

import typer

from auditor import __version__
from auditor.cli.baseline import app as baseline
from auditor.cli.check import check
from auditor.cli.compare import compare
from auditor.cli.defend import defend
from auditor.cli.demo import demo
from auditor.cli.diff import diff
from auditor.cli.dp_claim import dp_claim
from auditor.cli.explain import explain
from auditor.cli.gate import gate
from auditor.cli.helping import Verb, Verbs
from auditor.cli.init import init
from auditor.cli.list import list_
from auditor.cli.merge import merge
from auditor.cli.repair import repair
from auditor.cli.report import report
from auditor.cli.run import run
from auditor.cli.split import split
from auditor.cli.train import train

app = typer.Typer(
    name="auditor",
    cls=Verbs,
    help="Privacy and robustness auditor for trained graph neural networks: every number beside its control.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 passed · 1 gate failed · 2 usage or data · 3 no verdict · 4 target refused · 130 stopped",
)


def _version(show: bool) -> None:
    if show:
        typer.echo(f"gnn-auditor {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    from auditor.cli.console import Notes

    logger = logging.getLogger("auditor")
    if not any(isinstance(handler, Notes) for handler in logger.handlers):
        logger.addHandler(Notes(logging.WARNING))


_VERBS: dict[str, Callable[..., None]] = {
    "demo": demo,
    "train": train,
    "init": init,
    "split": split,
    "check": check,
    "run": run,
    "merge": merge,
    "gate": gate,
    "diff": diff,
    "repair": repair,
    "defend": defend,
    "compare": compare,
    "dp-claim": dp_claim,
    "report": report,
    "list": list_,
    "explain": explain,
}
for _name, _verb in _VERBS.items():
    app.command(_name, cls=Verb)(_verb)
app.add_typer(baseline)
