"""The document itself: canonical bytes, nothing left out."""

from __future__ import annotations

from auditor.document import Audit, to_bytes


class JsonReport:
    """`audit.json`, byte for byte as `auditor run` writes it."""

    id = "json"
    filename = "audit.json"

    def render(self, audit: Audit) -> bytes:
        """Canonical bytes of the whole document."""
        return to_bytes(audit)
