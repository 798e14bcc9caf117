"""`auditor list`: what is registered. Imports no torch."""

from __future__ import annotations

import json
from typing import Annotated

import typer


def list_(
    what: Annotated[
        str, typer.Argument(help="probes, attacks, defenses, data, reports, findings or schema.")
    ] = "probes",
) -> None:
    """List probes, attacks, defences, data sets, reports or finding ids; or print the audit document's JSON Schema."""
    from auditor import registry
    from auditor.errors import ConfigError, nearest

    if what == "schema":
        from auditor.cli.console import write_data
        from auditor.document import json_schema

        write_data(json.dumps(json_schema(), indent=2, sort_keys=True) + "\n")
        return
    listings = {
        "probes": lambda: [(p.id, p.family, p.summary) for p in registry.probes().values()],
        "attacks": lambda: [(e.id, e.probe or e.id, e.summary) for e in registry.entries("attacks").values()],
        "defenses": lambda: [(e.id, e.family, e.summary) for e in registry.entries("defenses").values()],
        "reports": lambda: [(e.id, e.family, e.summary) for e in registry.entries("reports").values()],
        "findings": _findings,
        "data": _data,
    }
    if what not in listings:
        raise ConfigError(f'nothing is listed as "{what}". {nearest(what, [*listings, "schema"])}')
    rows = listings[what]()
    if not rows:
        typer.echo(f"no {what} yet")
        return
    widths = [max(len(row[i]) for row in rows) for i in range(2)]
    for id_, group, summary in rows:
        typer.echo(f"{id_:<{widths[0]}}  {group:<{widths[1]}}  {summary}".rstrip())


def _findings() -> list[tuple[str, str, str]]:
    from auditor import registry
    from auditor.cli.pages import first_line

    rows = [(id_, family, first_line("findings", id_)) for id_, family in registry.findings().items()]
    return [row for row in rows if row[2]]


def _data() -> list[tuple[str, str, str]]:
    from auditor.data.catalogue import CATALOGUE

    return [(entry.id, entry.task, entry.summary) for entry in CATALOGUE]
