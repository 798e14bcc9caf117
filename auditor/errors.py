"""Everything `auditor` raises on purpose, and the exit code each one means.

```
AuditorError                        3   something kept the audit from a verdict
├── UsageError                      2   the request cannot be understood
│   ├── ConfigError                     a config file, an option, a probe's parameter
│   ├── DataError                       the data asked for is missing or malformed
│   │   ├── GraphError                  nodes, edges, features or labels
│   │   └── SplitError                  train, validation and test items
│   ├── TaskError                       what the model or the file is for is not audited
│   └── CallError                       forward cannot be called with what the graph holds
├── TargetError                     4   the target was refused or could not be loaded
│   ├── RefusedError                    loading it would run code that came inside a file
│   └── LoadError                       missing, does not fit its table, not a model
├── AccessError                     3   an attack reached for what it was not granted
├── CapabilityError                 3   a target was asked for what it cannot do
├── PerRecordShapeError             3   gradients that are not one a record: clipping them would promise nothing
├── SkippedError                    –   a probe does not apply here; the reason becomes the cell's row
├── DocumentError                   3   an audit document does not agree with itself
├── ProbeNotRun                     3   a report is asked for a number that it lacks; also a KeyError
├── VerdictError                  1, 3  `raise_for_verdict` of a report that did not pass
└── EvaluationError                 3   an outcome breaks its contract (asymmetric scorer, budget exceeded, NaN)
```

A message has three parts: what came, what was expected, how to go on.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

KINDS: Mapping[type, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text in quotes",
    list: "a list",
    dict: "a table",
}
"""What a value of a type is called to people, who may not write Python."""
_KINDS = {"string": str, "mapping": dict, "model": dict, "dataclass": dict, "tuple": list, "set": list} | {
    kind.__name__: kind for kind in KINDS
}
_LONGEST_VALUE = 60


class AuditorError(Exception):
    """Root of the tree; `exit_code` is what the command line returns for it."""

    exit_code = 3


class UsageError(AuditorError):
    """The request cannot be understood."""

    exit_code = 2


class ConfigError(UsageError):
    """A config file, an option or a probe's parameter is wrong."""


class DataError(UsageError):
    """The data asked for is missing or malformed."""


class GraphError(DataError):
    """Nodes, edges, features or labels are malformed."""


class SplitError(DataError):
    """Train, validation or test items are malformed."""


class TaskError(UsageError):
    """What the model or the file is for is not audited."""


class CallError(UsageError):
    """Forward cannot be called with what the graph holds."""


class TargetError(AuditorError):
    """The target was refused or could not be loaded."""

    exit_code = 4


class RefusedError(TargetError):
    """Loading the file would run code that came inside it."""


class LoadError(TargetError):
    """The model file is missing, does not fit its table, or is not a model."""


class AccessError(AuditorError):
    """An attack reached for something that its adversary was not granted."""


class CapabilityError(AuditorError):
    """A target was asked for something it cannot do."""


class PerRecordShapeError(AuditorError):
    """Gradients are not one per record, or a record's gradient depends on another record."""


class SkippedError(AuditorError):
    """A probe does not apply to this target; the message is the reason printed on its row.

    `lacks` names the capabilities that the target would need.
    """

    def __init__(self, reason: str, *, lacks: tuple[str, ...] = ()) -> None:
        super().__init__(reason)
        self.lacks = lacks


class DocumentError(AuditorError):
    """An audit document does not agree with itself: nothing can be judged by it."""


class EvaluationError(AuditorError):
    """An attack's outcome breaks its contract, so that no number can be taken from it."""


class ProbeNotRun(AuditorError, KeyError):  # noqa: N818  reads as what it says
    """A report has no number of this probe; the message is the reason why it did not run."""

    __str__ = Exception.__str__  # a KeyError would show its message in quotes


class VerdictError(AuditorError):
    """An audit did not pass; `exit_code` is its verdict's: 1 failed, 3 no verdict."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def nearest(word: str, known: Iterable[str], *, listed: bool = False) -> str:
    """A sentence that offers the known word closest to `word`; with none close it lists them, unless they are."""
    words = sorted(known)
    if close := difflib.get_close_matches(word, words, n=1, cutoff=0.5):
        return f'Did you mean "{close[0]}"?'
    return "" if listed else f"Known: {', '.join(words) or 'none'}."


def shown(value: object) -> str:
    """A value as a config file would have it, cut where it is long."""
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= _LONGEST_VALUE else text[: _LONGEST_VALUE - 3] + "..."


def expected(problem: Mapping[str, Any]) -> str:
    """One problem that pydantic has found with a value, as `expected …` in our words."""
    kind, _, how = str(problem["type"]).partition("_")
    if kind in _KINDS and how in ("type", "parsing", "from_float", "parsing_size"):
        return f"expected {KINDS[_KINDS[kind]]}"
    text = str(problem["msg"]).removeprefix("Value error, ")
    for theirs, ours in (
        ("Input should be", "expected"),
        ("String should match pattern", "expected text that matches"),
    ):
        if text.startswith(theirs):
            return text.replace(theirs, ours, 1)
    return text
