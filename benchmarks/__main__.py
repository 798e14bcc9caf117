"""`make bench`: every benchmark, each in a process of its own with one thread; writes benchmarks/RESULTS.md.

    python -m benchmarks [attacks|defenses …]

Ratios between methods of one table were measured side by side in one run; times of different runs are not comparable.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

from auditor import __version__

RESULTS = Path(__file__).with_name("RESULTS.md")
SEEDS = ("0", "1")
GROUPS = ("attacks", "defenses")


def commands(group: str, targets: Path) -> dict[str, list[str]]:
    """Title and command of each benchmark of a group; trained targets lie in `targets`."""
    if group == "attacks":
        folders = [str(targets / f"cora-gcn64-{seed}") for seed in SEEDS]
        return {
            "GraphMI and link stealing": ["benchmarks.graphmi"],
            "Structure evasion beside PRBCD": ["benchmarks.structure_evasion", *folders],
        }
    return {"L2R-GNN": ["benchmarks.l2r"], "Joint-cluster and repair": ["benchmarks.joint_cluster"]}


def run(*arguments: str) -> str:
    """Standard output of one module run as a script."""
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-m", *arguments], stdout=subprocess.PIPE, text=True, env=env, check=True)
    return done.stdout


def main() -> None:
    """Runs the groups asked for and writes one section each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"any of {', '.join(GROUPS)} (default: all)")
    groups = parser.parse_args().groups or list(GROUPS)
    if unknown := set(groups) - set(GROUPS):
        parser.error(f"no group is called {', '.join(sorted(unknown))}; known: {', '.join(GROUPS)}")
    lines = [
        "# Results",
        "",
        f"auditor {__version__}, Python {platform.python_version()}, torch {torch.__version__}, one thread.",
    ]
    with tempfile.TemporaryDirectory() as folder:
        targets = Path(folder)
        if "attacks" in groups:
            for seed in SEEDS:
                options = [
                    "--data",
                    "cora",
                    "--hidden",
                    "64",
                    "--seed",
                    seed,
                    "-o",
                    str(targets / f"cora-gcn64-{seed}"),
                ]
                run("auditor", "train", *options)
        for group in groups:
            for title, command in commands(group, targets).items():
                print(f"{title}: {' '.join(command)}", flush=True)
                lines += ["", f"## {title}", "", "```", run(*command).rstrip(), "```"]
                RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"written: {RESULTS}")


if __name__ == "__main__":
    main()
