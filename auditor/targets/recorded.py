"""What a model was built with: `@auditor.record` above its class keeps the arguments. Imports no torch."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Mapping
from typing import Any, TypeVar

Kind = TypeVar("Kind", bound=type)
_KEPT = "_recorded_arguments"
_ELSEWHERE = ("hparams", "_hub_mixin_config")  # Lightning's save_hyperparameters, Hugging Face's hub mixin


def record(kind: Kind) -> Kind:
    """Class decorator: every instance remembers the arguments of its constructor, so that it can be built again."""
    construct = kind.__init__  # type: ignore[misc]  # of this very class, to be wrapped
    signature = inspect.signature(construct)

    @functools.wraps(construct)
    def recording(self: Any, *args: Any, **kwargs: Any) -> None:
        construct(self, *args, **kwargs)
        if type(self) is kind:  # a subclass has arguments of its own
            self.__dict__[_KEPT] = _by_name(signature.bind(self, *args, **kwargs))

    kind.__init__ = recording  # type: ignore[misc]
    return kind


def recorded_arguments(model: object) -> Mapping[str, Any] | None:
    """Arguments by name that the class, Lightning or the hub mixin kept; None where nobody did.

    Of the latter two only those that the constructor takes: they keep more than arguments.
    """
    kept = vars(model).get(_KEPT)
    if kept is not None:
        return kept  # type: ignore[no-any-return]
    taken = set(inspect.signature(type(model).__init__).parameters)
    for name in _ELSEWHERE:
        config = getattr(model, name, None)
        if isinstance(config, Mapping) and config:
            return {key: value for key, value in config.items() if key in taken}
    return None


def _by_name(bound: inspect.BoundArguments) -> dict[str, Any]:
    _, *given = bound.arguments.items()
    found: dict[str, Any] = {}
    for name, value in given:
        several = bound.signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD
        found |= value if several else {name: value}
    return found
