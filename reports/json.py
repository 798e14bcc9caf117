"""The document itself: canonical bytes, nothing left out."""

from __future__ import annotations

from auditor.document import Audit, sealed, to_bytes


class JsonReport:
    """`audit.json`, byte for byte as `auditor run` writes it."""

    id = "json"
    filename = "audit.json"
    opening = r'\{\s*"argv": '

    def render(self, audit: Audit) -> bytes:
        """Canonical bytes of the whole document, every field of today in them, with the digest of just that."""
        return to_bytes(sealed(audit))
