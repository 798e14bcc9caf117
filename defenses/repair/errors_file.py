"""Which nodes are to be repaired, and to what: the wrong ones of a mask, or a file that the owner wrote."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import torch

from auditor.errors import ConfigError
from auditor.reading.files import MAX_TEXT, bytes_of, reading
from auditor.targets.target import Target
from defenses.repair.weights import Nodes

HEADER = ["node", "label"]


def wrong_nodes(target: Target, errors: str) -> Nodes:
    """Ids and classes to reach, int64 [W] each.

    Args:
        target: whose data holds the labels of `test` and `val`.
        errors: `test`, `val`, or a CSV file with the columns node,label.

    Raises:
        ConfigError: no such file, a malformed line, an id or class out of range, a node listed twice, a training node
            whose label is another one, or nothing to repair.
    """
    if errors in ("test", "val"):
        mask = target.split.test if errors == "test" else target.split.val
        ids = torch.nonzero(mask & ~target.task.correct(target.clean_logits(), target.graph.y)).flatten()
        if not ids.numel():
            raise ConfigError(f"no {errors} node is wrong; there is nothing to repair.")
        return ids, target.graph.y[ids]
    return check_nodes(target, read_errors(Path(errors)))


def read_errors(path: Path) -> list[tuple[int, int]]:
    """The (node, label) rows of a file.

    Raises:
        ConfigError: missing, no header node,label, or a row that is not two whole numbers.
    """
    expected = "test, val, or a CSV file with the columns node,label. Give one of them as --errors."
    raw = bytes_of(path, error=ConfigError, cap=MAX_TEXT, expected=expected)
    with reading(path.name, error=ConfigError, expected=expected):
        rows = list(csv.reader(io.StringIO(raw.decode("utf-8-sig"), newline="")))
    if not rows or [word.strip() for word in rows[0]] != HEADER:
        raise ConfigError(
            f"{path.name} starts with {','.join(rows[0])[:60] if rows else 'nothing'}; expected node,label."
        )
    found = []
    for number, row in enumerate(rows[1:], start=2):
        if not row:
            continue
        try:
            node, label = (int(word) for word in row)
        except ValueError:
            raise ConfigError(
                f"{path.name}, line {number}: {','.join(row)[:60]}; expected two whole numbers."
            ) from None
        found.append((node, label))
    return found


def check_nodes(target: Target, rows: list[tuple[int, int]]) -> Nodes:
    """The rows as tensors, each checked against the target; see `wrong_nodes`."""
    n, classes = target.graph.num_nodes, target.num_classes
    if not rows:
        raise ConfigError("the list of nodes to repair is empty; expected at least one node,label.")
    seen: set[int] = set()
    for node, label in rows:
        if not 0 <= node < n:
            raise ConfigError(f"node {node} is not in the graph; expected 0 to {n - 1}.")
        if not 0 <= label < classes:
            raise ConfigError(f"node {node} has the label {label}; expected 0 to {classes - 1}.")
        if node in seen:
            raise ConfigError(f"node {node} is listed twice; expected each node once.")
        if bool(target.split.train[node]) and int(target.graph.y[node]) != label:
            raise ConfigError(
                f"node {node} is a training node of class {int(target.graph.y[node])}, the list says {label}; "
                "correct the data and retrain instead."
            )
        seen.add(node)
    return torch.tensor([row[0] for row in rows]), torch.tensor([row[1] for row in rows])
