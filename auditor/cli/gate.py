"""`auditor gate`: judges an existing audit; nothing is measured again and nothing on disk changes."""

from __future__ import annotations

from typing import Annotated

import typer

from auditor.cli import judging, options


def gate(
    audit_json: options.AuditPath,
    policy: judging.PolicyName = "standard",
    fail_on: judging.FailOn = None,
    baseline: judging.BaselinePath = None,
    config: judging.Config = None,
    as_of: judging.AsOf = None,
    exit_zero: Annotated[bool, typer.Option("--exit-zero", help="A failed gate exits 0 (dashboards).")] = False,
    plain: Annotated[bool, typer.Option("--plain", help="No boxes.")] = False,
) -> None:
    """Judge an audit against a policy and a baseline; the exit code is the verdict."""
    from auditor import registry
    from auditor.api.report import Report
    from auditor.cli.console import stdout

    day = judging.read_day(as_of, "--as-of")
    rules = judging.read_policy(policy, fail_on, config, day)
    accepted = judging.read_baseline_file(baseline)
    judged = Report.load(audit_json).judged(rules, baseline=accepted, as_of=day, exit_zero=exit_zero)
    registry.find("reports", "terminal").load()().print(judged.document, stdout(), plain=plain)
    raise typer.Exit(judged.verdict.exit_code)
