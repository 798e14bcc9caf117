"""`auditor explain`: the page of one probe, attack, defence or finding. Imports no torch."""

from __future__ import annotations

from typing import Annotated

import typer


def explain(id_: Annotated[str, typer.Argument(metavar="ID", help="A probe, attack, defence or finding id.")]) -> None:
    """Print the page of one probe, attack, defence or finding: what it means, who can do it, what to do about it."""
    from rich.markdown import Markdown

    from auditor import registry
    from auditor.cli.console import stdout
    from auditor.cli.pages import FOLDERS, page
    from auditor.errors import ConfigError, nearest

    attacks = registry.entries("attacks")
    probes = registry.probes()
    known = {
        *attacks,
        *probes,
        *registry.entries("defenses"),
        *(finding for finding in registry.findings() if page("findings", finding) is not None),
    }
    if id_ not in known:
        raise ConfigError(f'nothing is called "{id_}". {nearest(id_, known)} "auditor list probes" shows them all.')
    named = attacks[id_].probe or id_ if id_ in attacks and id_ not in probes else id_
    text = next((found for folder in FOLDERS if (found := page(folder, named)) is not None), None)
    if text is None:
        raise ConfigError(f'"{id_}" is registered but its page is not installed here.')
    console = stdout()
    if console.is_terminal:
        console.print(Markdown(text))
    else:
        typer.echo(text)
