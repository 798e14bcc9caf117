"""Privacy and robustness auditor for trained graph neural networks. What is public is imported when it is asked for."""

import importlib

__version__ = "0.2.0"

_HOME = {
    "audit": "auditor.api.auditing",
    "check": "auditor.api.auditing",
    "check_split": "auditor.api.splitting",
    "load_target": "auditor.api.auditing",
    "merge": "auditor.api.merging",
    "Report": "auditor.api.report",
    "SavedTarget": "auditor.targets.save",
    "record": "auditor.targets.recorded",
    "save_target": "auditor.targets.save",
}
__all__ = [*_HOME, "__version__", "errors"]


def __getattr__(name: str) -> object:
    if name == "errors":
        return importlib.import_module("auditor.errors")
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
