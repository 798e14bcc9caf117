"""What null and planted runs found, as Markdown; every run that was not as it should be by name.

A share of runs has its 95 % Clopper–Pearson interval behind it, in percent.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from scipy.stats import binomtest

from benchmarks.trust import null, planted, probes
from benchmarks.trust.judging import Row
from benchmarks.trust.running import each, shares
from benchmarks.trust.settings import NULL_RUNS, PLANTED_RUNS, POLICY, PROBE_RUNS

Runs = Sequence[tuple[str, int]]


def print_null(profile: str, runs: int | None, jobs: int, *, retrain: bool) -> None:
    """Claims and fails of models that cannot know the edges."""
    total = NULL_RUNS[profile] if runs is None else runs
    dealt = shares(total, list(null.KINDS))
    found = each(partial(null.run, profile=profile, retrain=retrain), dealt, jobs)
    print(f"\n## Null: models that never saw the edges, {profile}, {_twins(retrain=retrain)}\n")
    print(f"Goal, with twins: at most 1 claim in 40 runs and no fail under `{POLICY}`.\n")
    _table(dealt, found, list(null.KINDS), "claims")
    for (kind, number), rows in zip(dealt, found, strict=True):
        for row in rows:
            if row.claim or row.crosses or row.status == "fail":
                print(f"- {kind} {number}: {row.said}")


def print_planted(profile: str, runs: int | None, jobs: int, *, retrain: bool) -> None:
    """Claims and fails of models that give the edges away."""
    times = PLANTED_RUNS[profile] if runs is None else runs
    kinds = list(planted.KINDS)
    dealt = shares(times * len(kinds), kinds)
    found = each(partial(planted.run, profile=profile, retrain=retrain), dealt, jobs)
    print(f"\n## Planted leaks, {profile}, {_twins(retrain=retrain)}\n")
    print(f"Goal: all of {', '.join(planted.TO_FIND)} found, 7 of 8 of them fail under `{POLICY}`.\n")
    told = [(*each_, rows) for each_, rows in zip(dealt, found, strict=True)]
    wanted = [(kind, number, rows) for kind, number, rows in told if kind in planted.TO_FIND]
    _table([(k, n) for k, n, _ in wanted], [rows for *_, rows in wanted], list(planted.TO_FIND), "found")
    for kind, number, rows in wanted:
        if not any(row.status == "fail" for row in rows):
            word = "found, no fail" if any(row.claim for row in rows) else "missed"
            print(f"- {kind} {number}, {word}: {'; '.join(row.said for row in rows)}")
    for kind in planted.FOR_INFLUENCE:
        own = [rows for k, _, rows in told if k == kind]
        claimed = sum(any(row.claim for row in rows) for rows in own)
        print(f"\n{kind}: claimed in {claimed} of {len(own)} runs; none of these probes asks queries.")


def print_probes(profile: str, runs: int | None, jobs: int, *, retrain: bool) -> None:
    """Claims and fails of influence queries and of membership, on what is to be found and on what is not."""
    times = PROBE_RUNS[profile] if runs is None else runs
    kinds = list(probes.KINDS)
    dealt = shares(times * len(kinds), kinds)
    found = each(partial(probes.run, profile=profile, retrain=retrain), dealt, jobs)
    told = [(*each_, rows) for each_, rows in zip(dealt, found, strict=True)]
    print(f"\n## Influence queries and membership, {profile}, {_twins(retrain=retrain)}\n")
    print(
        f"Goal: all of {', '.join(probes.TO_FIND)} found by every probe; of each other kind at most 1 run in 20 with a"
    )
    print(f"claim, and no fail under `{POLICY}`.\n")
    for names, title in ((probes.TO_FIND, "found"), (probes.NULLS, "claims")):
        own = [(kind, number, rows) for kind, number, rows in told if kind in names]
        _table([(kind, number) for kind, number, _ in own], [rows for *_, rows in own], list(names), title)
    for kind, number, rows in told:
        claimed = {row.probe for row in rows if row.claim}
        missed = {row.probe for row in rows} - claimed
        if kind in probes.TO_FIND and missed:
            print(f"- {kind} {number}, not found by {', '.join(sorted(missed))}")
        for row in rows if kind in probes.NULLS else ():
            if row.claim or row.crosses or row.status == "fail":
                print(f"- {kind} {number}: {row.said}")


def _table(dealt: Runs, found: Sequence[list[Row]], kinds: Sequence[str], title: str) -> None:
    """Runs of each kind and of all: with a claim, with a fail, with a number beyond its threshold."""
    counts: dict[str, Callable[[Row], bool]] = {
        title: lambda row: row.claim,
        "fail": lambda row: row.status == "fail",
        "beyond the threshold, trusted or not": lambda row: row.crosses,
    }
    print(f"| model | runs | {' | '.join(counts)} | numbers judged |")
    print("|---|---|---|---|---|---|")
    for kind in [*kinds, "all"]:
        own = [rows for (name, _), rows in zip(dealt, found, strict=True) if kind in (name, "all")]
        hits = [sum(any(map(holds, rows)) for rows in own) for holds in counts.values()]
        told = " | ".join(_of(hit, len(own)) for hit in hits)
        print(f"| {kind} | {len(own)} | {told} | {sum(map(len, own))} |", flush=True)
    print()


def _of(hits: int, runs: int) -> str:
    """A count of runs, and the 95 % Clopper–Pearson interval of its share in percent."""
    if not runs:
        return str(hits)
    lo, hi = binomtest(hits, runs).proportion_ci(method="exact")
    return f"{hits} [{100 * lo:.0f}, {100 * hi:.0f}]"


def _twins(*, retrain: bool) -> str:
    return "twins can be trained" if retrain else "the model alone, no twin can be trained"
