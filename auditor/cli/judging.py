"""What `gate` and `baseline` share: an audit judged again by the policy of the command line and the config file."""

from __future__ import annotations

import datetime
import gc
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from auditor.errors import ConfigError

if TYPE_CHECKING:
    from auditor.document import Audit
    from auditor.policy import Policy
    from auditor.policy.baseline import Baseline

# No square brackets in a help text: the command line library reads them as markup and shows nothing.
PolicyName = Annotated[str, typer.Option("--policy", help="lenient, standard, strict or NAME of a policy.NAME table.")]
FailOn = Annotated[
    str | None, typer.Option("--fail-on", help="Severity from which a result fails: low, medium, high, critical.")
]
Config = Annotated[Path | None, typer.Option("--config", help="audit.toml with gate, policy.NAME and suppress tables.")]
BaselinePath = Annotated[Path | None, typer.Option("--baseline", help="Accepted results (auditor-baseline.json).")]
AsOf = Annotated[
    str | None,
    typer.Option("--as-of", metavar="DATE", help="Day on which expiry dates are checked (default: today, UTC)."),
]


def read_day(text: str | None, option: str) -> datetime.date:
    """The day an option names; today in UTC when it was not given.

    Raises:
        ConfigError: not a date.
    """
    if text is None:
        return datetime.datetime.now(datetime.UTC).date()
    try:
        return datetime.date.fromisoformat(text)
    except ValueError:
        raise ConfigError(f'{option} is "{text}"; expected a date such as 2027-01-31.') from None


def read_policy(name: str, fail_on: str | None, config: Path | None, as_of: datetime.date) -> Policy:
    """The policy of the command line and the config file."""
    from auditor.policy import Policy

    tables: dict[str, Any] = {}
    if config is not None:
        from auditor.api.options import read_tables

        tables = read_tables(config)
    return Policy.from_tables(
        tables.get("gate", {}),
        tables.get("policy", {}),
        tables.get("suppress", ()),
        name=name,
        fail_on=fail_on,
        as_of=as_of,
    )


def read_audit(path: Path) -> Audit:
    """An audit document from a file.

    Raises:
        UsageError: a folder, not ours, or of another major version.
        DocumentError: it does not agree with itself.
    """
    from auditor.api.files import read_file
    from auditor.document import from_bytes
    from auditor.errors import UsageError

    if (inside := path / "audit.json").is_file():
        raise UsageError(f"{path} is a folder; expected an audit document. Give {inside}.")
    audit = from_bytes(read_file(path))
    gc.freeze()  # it stays as long as this process: the collector need not look at it again and again
    return audit


def read_baseline_file(path: Path | None) -> Baseline | None:
    """A baseline from a file; None when no path was given."""
    from auditor.api.files import read_file
    from auditor.policy.baseline import read_baseline

    return None if path is None else read_baseline(read_file(path))
