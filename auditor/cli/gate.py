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
    plain: options.Plain = None,
    verbose: options.Verbose = False,
) -> None:
    """Judge an audit against a policy and a baseline; the exit code is the verdict."""
    from auditor import registry
    from auditor.cli.console import is_plain, stdout
    from auditor.document import naming
    from auditor.policy import gate as judge

    day = judging.read_day(as_of, "--as-of")
    rules = judging.read_policy(policy, fail_on, config, day)
    accepted = judging.read_baseline_file(baseline)
    audit = judging.read_audit(audit_json)
    judged = judge(audit, rules, accepted, as_of=day, exit_zero=exit_zero, seal=False)
    nameless = naming(judged, 0, seal=False)  # the log of a release is read by more people than the data are
    registry.find("reports", "terminal").load()().print(
        nameless, stdout(), plain=is_plain(plain), verbose=verbose, path=str(audit_json)
    )
    raise typer.Exit(judged.verdict.exit_code)
