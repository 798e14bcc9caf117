"""Data sets by name or path, the bundled demo graph, splits."""

from auditor.data.graph import Graph, Split, Task

__all__ = ["Graph", "Split", "Task"]
