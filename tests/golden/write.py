"""Stores the tables anew: `python -m tests.golden.write [SCENARIO…]`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.golden import stored
from tests.golden.running import Tables
from tests.golden.scenarios import SCENARIOS


def main() -> None:
    """Runs the scenarios named, or all, and overwrites their files."""
    names = sys.argv[1:] or list(SCENARIOS)
    unknown = [name for name in names if name not in SCENARIOS]
    if unknown:
        sys.exit(f"no scenario is called {', '.join(unknown)}; there are {', '.join(SCENARIOS)}")
    with tempfile.TemporaryDirectory() as folder, Tables(Path(folder)) as tables:
        for name in names:
            path = stored.write(name, tables.of(name))
            print(f"{name}: {path.stat().st_size:,} bytes, {tables.seconds[name]:.1f} s")  # noqa: T201


if __name__ == "__main__":
    main()
