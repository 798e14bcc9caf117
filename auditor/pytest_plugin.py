"""The pytest plugin: `--auditor-profile`, `--auditor-out` and the fixture `gnn_audit`. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from auditor.api.report import Report


def pytest_addoption(parser: pytest.Parser) -> None:
    """The two options."""
    group = parser.getgroup("auditor", "audits of graph neural networks")
    group.addoption("--auditor-profile", metavar="NAME", help="Depth of audits: quick, standard (default) or full.")
    group.addoption("--auditor-out", metavar="DIR", help="Keep the report of every audit in a folder below this one.")


def pytest_configure(config: pytest.Config) -> None:
    """Hands the options to `auditor.testing`, and forgets the audits of an earlier session."""
    from auditor import testing

    out = config.getoption("auditor_out")
    testing.begin(profile=config.getoption("auditor_profile"), out=None if out is None else Path(out))


@pytest.fixture(scope="session")
def gnn_audit() -> Callable[..., Report]:
    """`auditor.audit`, run once a session for the same model, data and options: `gnn_audit(model, data).verdict`."""
    from auditor import testing

    return testing.audited
