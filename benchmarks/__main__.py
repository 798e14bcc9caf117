"""`make bench`: every benchmark, each in a process of its own with one thread; writes benchmarks/RESULTS.md.

    python -m benchmarks [privacy|robustness|shift|defenses|dp|trust|runs …]

A group that is not run keeps its section of an earlier run. In one that is run, the parts of its commands are replaced
one by one as they end; what people wrote around them (goals, what was found) stays, and is theirs to bring up to date.
Ratios between methods of one table were measured side by side in one run; times of different runs are not comparable.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch

from auditor import __version__
from auditor.runner.memory import KEEP_FREED
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
    env = {**KEEP_FREED, **os.environ, "OMP_NUM_THREADS": "1"}  # as a worker has it
    done = subprocess.run([sys.executable, "-m", *arguments], stdout=subprocess.PIPE, text=True, env=env, check=True)
    return done.stdout


def sections(text: str, level: str) -> dict[str, str]:
    """Text under each heading of a level, by its title; what stands before the first is under the empty title."""
    found, title, fenced = {"": ""}, "", False
    for line in text.splitlines(keepends=True):
        fenced ^= line.startswith("```")  # what a command prints has headings of its own
        if not fenced and line.startswith(f"{level} "):
            title = line[len(level) :].strip()
            found[title] = ""
        else:
            found[title] += line
    return found


def joined(found: dict[str, str], level: str) -> str:
    """The text of which these are the sections."""
    return "".join(f"{level} {title}\n{text.rstrip()}\n\n" if title else text for title, text in found.items())


def record(group: str, title: str, text: str) -> None:
    """Writes the part of one command into its group's section; everything else stays as it is."""
    found = sections(RESULTS.read_text(encoding="utf-8") if RESULTS.is_file() else "", "#")
    parts = sections(found.get(group, "\n"), "##")
    found[group] = joined({**parts, title: text}, "##")
    ordered = {name: found[name] for name in ("", *GROUPS) if name in found}
    RESULTS.write_text(joined(ordered, "#").rstrip() + "\n", encoding="utf-8")


def main() -> None:
    """Runs the groups asked for and writes one section each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"any of {', '.join(GROUPS)} (default: all)")
    groups = parser.parse_args().groups or list(GROUPS)
    if unknown := set(groups) - set(GROUPS):
        parser.error(f"no group is called {', '.join(sorted(unknown))}; known: {', '.join(GROUPS)}")
    machine = f"auditor {__version__}, Python {platform.python_version()}, torch {torch.__version__}, one thread"
    with tempfile.TemporaryDirectory() as folder:
        for group in groups:
            for options in GROUPS[group].targets(Path(folder)):
                run("auditor", "train", *options)
            for title, command in GROUPS[group].commands(Path(folder)).items():
                print(f"{title}: {' '.join(command)}", flush=True)
                start = time.monotonic()
                text = run(*command).rstrip()
                took = f"{time.monotonic() - start:.0f} s, load at its end {os.getloadavg()[0]:.1f}"
                record(group, title, f"\n{machine}; {took}.\n\n```\n{text}\n```")
    print(f"written: {RESULTS}")


if __name__ == "__main__":
    main()
