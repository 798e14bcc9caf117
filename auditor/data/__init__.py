"""Data sets by name or path, the bundled demo graph, splits. Imports nothing, so that `auditor list` stays quick."""
