"""`auditor baseline write|show`: accepts today's failing findings, with a reason and an expiry date."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from auditor.cli import judging, options

app = typer.Typer(
    name="baseline", help="Accept known findings until a date, or list what is accepted.", no_args_is_help=True
)


@app.command("write")
def write(
    audit_json: options.AuditPath,
    reason: Annotated[str, typer.Option("--reason", help="Why the findings are accepted, e.g. a ticket.")],
    expires: Annotated[str, typer.Option("--expires", metavar="DATE", help="Last day, at most 365 days away.")],
    policy: judging.PolicyName = "standard",
    fail_on: judging.FailOn = None,
    config: judging.Config = None,
    as_of: judging.AsOf = None,
    by: Annotated[str, typer.Option("--by", help="Who accepts; stored in the file.")] = "",
    out: Annotated[Path, typer.Option("-o", "--out", help="The file to write.")] = Path("auditor-baseline.json"),
) -> None:
    """Accept every finding that fails the gate today."""
    from auditor.baseline import accept, to_bytes
    from auditor.cli.console import note, write_file
    from auditor.errors import ConfigError
    from auditor.policy import gate, gates
    from auditor.policy.rules import read_expiry

    if not reason.strip():
        raise ConfigError("--reason is empty; say why the findings are accepted, e.g. a ticket.")
    day = judging.read_day(as_of, "--as-of")
    last = read_expiry(expires, day, "--expires:")
    if last < day:
        raise ConfigError(
            f"--expires is {last.isoformat()}, that is over: nothing would be accepted. Write a later date."
        )
    rules = judging.read_policy(policy, fail_on, config, day)
    judged = gate(judging.read_audit(audit_json), rules, as_of=day)
    failing = [f for f in judged.findings if f.status != "accepted" and gates(f, rules)]
    accepted = accept(judged, failing, reason=reason.strip(), by=by.strip() or "unnamed", created=day, expires=last)
    write_file(out, to_bytes(accepted))
    for finding in failing:
        typer.echo(f"accepted until {last.isoformat()}: {finding.id} {finding.measurement} {finding.subset}".rstrip())
    note(f"written: {out} ({len(failing)} accepted, {len(accepted.cells)} cells that must keep running)")


@app.command("show")
def show(
    baseline_json: Annotated[Path, typer.Argument(metavar="BASELINE.JSON", help="A baseline file.")] = Path(
        "auditor-baseline.json"
    ),
    as_of: judging.AsOf = None,
) -> None:
    """List accepted findings with the days that are left."""
    from rich.table import Table
    from rich.text import Text

    from auditor.baseline import read_baseline
    from auditor.cli.console import read_file, stdout

    day = judging.read_day(as_of, "--as-of")
    baseline = read_baseline(read_file(baseline_json))
    table = Table(box=None, pad_edge=False)
    for column in ("finding", "severity", "accepted up to", "days left", "reason", "by"):
        table.add_column(column, overflow="fold")
    for entry in baseline.accepted:
        left = (entry.expires - day).days
        bound = "open" if entry.hi is None else f"{entry.hi:.3f}"
        days = str(left) if left >= 0 else f"expired {entry.expires.isoformat()}"
        name = "\n".join(filter(None, (_one_line(entry.id), _one_line(entry.what))))
        # Text, not markup: reason and name come from a file.
        words = (entry.severity, bound, days, entry.reason, entry.by)
        table.add_row(Text(name), *(Text(_one_line(word)) for word in words))
    console = stdout()
    console.print(table)
    console.print(
        f"{len(baseline.accepted)} accepted under policy {_one_line(baseline.policy)}, "
        f"{len(baseline.cells)} cells that must keep running",
        markup=False,
    )


def _one_line(text: str) -> str:
    """Text of a file without line breaks and control characters."""
    return "".join(c if c.isprintable() else " " for c in text)
