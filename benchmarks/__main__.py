"""`make bench`: every benchmark, each in a process of its own with one thread; writes benchmarks/RESULTS.md.

    python -m benchmarks [privacy|robustness|shift|defenses|dp|trust|runs …]

A group that is not run keeps its section of an earlier run. Ratios between methods of one table were measured side by
side in one run; times of different runs are not comparable.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from auditor import __version__
from benchmarks import defenses, dp, privacy, robustness, runs, shift, trust

RESULTS = Path(__file__).with_name("RESULTS.md")
GROUPS = {
    "privacy": privacy,
    "robustness": robustness,
    "shift": shift,
    "defenses": defenses,
    "dp": dp,
    "trust": trust,
    "runs": runs,
}


def run(*arguments: str) -> str:
    """Standard output of one module run as a script."""
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-m", *arguments], stdout=subprocess.PIPE, text=True, env=env, check=True)
    return done.stdout


def sections() -> dict[str, str]:
    """Text of each group in the file of results, by name."""
    text = RESULTS.read_text(encoding="utf-8") if RESULTS.is_file() else ""
    parts = re.split(r"^# (\w+)\n", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def write(found: dict[str, str]) -> None:
    """The file of results, groups in their order."""
    text = "".join(f"# {name}\n{found[name].rstrip()}\n\n" for name in GROUPS if name in found)
    RESULTS.write_text(text.rstrip() + "\n", encoding="utf-8")


def main() -> None:
    """Runs the groups asked for and writes one section each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"any of {', '.join(GROUPS)} (default: all)")
    groups = parser.parse_args().groups or list(GROUPS)
    if unknown := set(groups) - set(GROUPS):
        parser.error(f"no group is called {', '.join(sorted(unknown))}; known: {', '.join(GROUPS)}")
    machine = f"auditor {__version__}, Python {platform.python_version()}, torch {torch.__version__}, one thread."
    found = sections()
    with tempfile.TemporaryDirectory() as folder:
        for group in groups:
            for options in GROUPS[group].targets(Path(folder)):
                run("auditor", "train", *options)
            lines = ["", machine]
            for title, command in GROUPS[group].commands(Path(folder)).items():
                print(f"{title}: {' '.join(command)}", flush=True)
                lines += ["", f"## {title}", "", "```", run(*command).rstrip(), "```"]
                write({**found, group: "\n".join(lines)})
            found = sections()
    print(f"written: {RESULTS}")


if __name__ == "__main__":
    main()
