"""The conformance table: every shape of public models, as data."""

from tests.targets.shapes import answers, causes, checkpoints, edges, files, inputs, other_tasks, plain, pooled, tables
from tests.targets.shapes.shape import Built, Refused, Shape, Unknown, Works, build

GROUPS = (plain, tables, edges, inputs, answers, checkpoints, files, pooled, causes, other_tasks)
SHAPES: dict[str, Shape] = {shape.id: shape for group in GROUPS for shape in group.SHAPES}
"""By id, which begins with the row's number."""

SILENT = tuple(id_ for id_, shape in SHAPES.items() if shape.number in (20, 21, 27, 36, 37, 38, 39))
"""Rows where a number could be wrong without a word."""

__all__ = ["SHAPES", "SILENT", "Built", "Refused", "Shape", "Unknown", "Works", "build"]
