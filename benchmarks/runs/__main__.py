"""What a run costs (`python -m benchmarks.runs PART [--times N] [--nodes N…] [--probes ID…] [--limit S]`).

`before` takes some 12 minutes of CPU time, `documents` some 5. `growth` takes minutes up to 10,000 nodes and hours with
40,000, most of them for links and robustness: `--nodes` and `--probes` choose, `--nodes 170000` goes on from there.
"""

from __future__ import annotations

import argparse
import os

from benchmarks.runs.before import print_before
from benchmarks.runs.documents import print_documents
from benchmarks.runs.graphs import NODES
from benchmarks.runs.growth import CHECKS, LIMIT_S, print_growth, probes

PARTS = ("before", "growth", "documents")


def main() -> None:
    """Runs the parts asked for and prints Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="+", choices=PARTS, metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--nodes", nargs="+", type=int, default=NODES, metavar="N", help="growth: sizes of graphs")
    parser.add_argument(
        "--probes",
        nargs="+",
        choices=[CHECKS, *probes("full")],
        default=[CHECKS, *probes()],
        metavar="ID",
        help=f"growth: which, those of the profile full among them; {CHECKS} for those of the target",
    )
    parser.add_argument("--limit", type=float, default=LIMIT_S, metavar="S", help="growth: CPU seconds of one probe")
    parser.add_argument("--times", type=int, default=1, metavar="N", help="before: how often each command is run")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # read by the processes that are started
    for part in options.parts:
        if part == "growth":
            print_growth(options.nodes, options.probes, options.limit)
        elif part == "documents":
            print_documents()
        else:
            print_before(options.times)


if __name__ == "__main__":
    main()
