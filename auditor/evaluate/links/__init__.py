"""The harness of link probes: private edges against non-edges, beside what needs no model."""
