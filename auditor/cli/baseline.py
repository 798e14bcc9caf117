"""`auditor baseline write|show`: accepts today's failing results, with a reason and an expiry date."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from auditor.cli import judging, options
from auditor.cli.helping import Verb, Verbs

app = typer.Typer(
    name="baseline",
    cls=Verbs,
    help="Accept known results until a date, or list what is accepted.",
    no_args_is_help=True,
)


@app.command("write", cls=Verb)
def write(
    audit_json: options.AuditPath,
    reason: Annotated[str, typer.Option("--reason", help="Why they are accepted, e.g. a ticket.")],
    expires: Annotated[str, typer.Option("--expires", metavar="DATE", help="Last day, at most 365 days away.")],
    policy: judging.PolicyName = "standard",
    fail_on: judging.FailOn = None,
    config: judging.Config = None,
    as_of: judging.AsOf = None,
    by: Annotated[str, typer.Option("--by", help="Who accepts; stored in the file.")] = "",
    out: Annotated[Path, typer.Option("-o", "--out", help="The file to write.")] = Path("auditor-baseline.json"),
) -> None:
    """Accept every result that fails the gate today."""
    from auditor import registry
    from auditor.api.files import check_replaced, spare, write_file
    from auditor.cli.console import is_plain, note, stdout
    from auditor.errors import ConfigError
    from auditor.policy import gate, gates
    from auditor.policy.baseline import OPENING, accept, to_bytes
    from auditor.policy.rules import read_expiry

    if not reason.strip():
        raise ConfigError("--reason is empty; say why the results are accepted, e.g. a ticket.")
    day = judging.read_day(as_of, "--as-of")
    last = read_expiry(expires, day, "--expires:")
    if last < day:
        raise ConfigError(
            f"--expires is {last.isoformat()}, that is over: nothing would be accepted. Write a later date."
        )
    rules = judging.read_policy(policy, fail_on, config, day)
    judged = gate(judging.read_audit(audit_json), rules, as_of=day)
    controls = frozenset() if judged.comparison is None else judged.comparison.controls
    own = [result for result in judged.results if result.arm not in controls]  # nothing on a control wants accepting
    failing = [result for result in own if gates(result, rules) and not result.has_status("accepted")]
    accepted = accept(judged, failing, reason=reason.strip(), by=by.strip() or "unnamed", created=day, expires=last)
    write_file(check_replaced(spare(audit_json, out), OPENING), to_bytes(accepted))
    registry.find("reports", "terminal").load()().print_accepted(accepted, stdout(), today=day, plain=is_plain())
    note(f"written: {out}")


@app.command("show", cls=Verb)
def show(
    baseline_json: Annotated[Path, typer.Argument(metavar="BASELINE.JSON", help="A baseline file.")] = Path(
        "auditor-baseline.json"
    ),
    as_of: judging.AsOf = None,
) -> None:
    """List accepted results with the days that are left."""
    from auditor import registry
    from auditor.api.files import read_file
    from auditor.cli.console import is_plain, stdout
    from auditor.policy.baseline import read_baseline

    day = judging.read_day(as_of, "--as-of")
    baseline = read_baseline(read_file(baseline_json))
    registry.find("reports", "terminal").load()().print_accepted(baseline, stdout(), today=day, plain=is_plain())
