"""Every built-in defence, one line each. None has landed yet: `auditor list defenses` says so."""

from auditor.registry import Table

TABLE = Table()
