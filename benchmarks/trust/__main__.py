"""Whether verdicts can be believed (`python -m benchmarks.trust PART [--profile P] [--runs N] [--jobs J]`)."""

from __future__ import annotations

import argparse
import os

from benchmarks.trust.coverage import print_coverage
from benchmarks.trust.ordinary import print_sense, print_stability
from benchmarks.trust.settings import NULL_RUNS
from benchmarks.trust.tables import print_null, print_planted, print_probes

PARTS = ("null", "planted", "probes", "coverage", "sense", "stability")


def main() -> None:
    """Runs the parts asked for and prints Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("parts", nargs="+", choices=PARTS, metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--profile", choices=list(NULL_RUNS), default="quick")
    parser.add_argument("--runs", type=int, help="null: over all kinds; planted, probes: of each; coverage: graphs")
    parser.add_argument("--jobs", type=int, default=1, help="processes of one thread each (default: 1)")
    parser.add_argument("--no-retrain", action="store_true", help="audits get the model alone and make no twin")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # read by the processes that are started
    for part in options.parts:
        if part == "coverage":
            print_coverage(options.runs, options.jobs)
        elif part == "sense":
            print_sense(options.jobs)
        elif part == "stability":
            print_stability(options.jobs)
        else:
            run = {"null": print_null, "planted": print_planted, "probes": print_probes}[part]
            run(options.profile, options.runs, options.jobs, retrain=not options.no_retrain)


if __name__ == "__main__":
    main()
