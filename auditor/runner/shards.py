"""One part of a run's cells, the same on every machine; and the parts joined again."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from auditor import __version__
from auditor.errors import ConfigError, UsageError
from auditor.runner.executor import group_of
from auditor.runner.finished import Finished
from auditor.runner.plan import PlannedCell
from auditor.runner.record import CELLS, REUSED, RUN, Header, read_cells, read_run

MOST = 10_000


@dataclass(frozen=True, slots=True)
class Shard:
    """The `number`-th of `of` parts, from 1."""

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """`1/4`.

        Raises:
            ConfigError: no such part.
        """
        number, slash, of = text.partition("/")
        if slash and number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of) <= MOST:
            return cls(int(number), int(of))
        raise ConfigError(f'shard is "{text}"; expected i/n such as 1/4, with i from 1 to n and n at most {MOST:,}.')

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def of_cells(self, cells: Sequence[PlannedCell]) -> tuple[PlannedCell, ...]:
        """Its cells, in the order of the plan.

        Groups are dealt whole, the largest first, each to the part with the least to do; where there are fewer groups
        than parts, single cells are. Neither depends on anything but the plan.
        """
        unit = group_of if len({group_of(cell) for cell in cells}) >= self.of else lambda cell: cell.key
        sizes: dict[object, float] = {}
        for cell in cells:
            sizes[unit(cell)] = sizes.get(unit(cell), 0.0) + max(cell.estimate_s, 0.1)
        load, part = [0.0] * self.of, {}
        for name in sorted(sizes, key=lambda name: (-sizes[name], _digest(name))):
            part[name] = load.index(min(load))
            load[part[name]] += sizes[name]
        return tuple(cell for cell in cells if part[unit(cell)] == self.number - 1)


def _digest(name: object) -> str:
    return hashlib.sha256(repr(name).encode()).hexdigest()


def joined_shards(folders: Sequence[Path]) -> tuple[Header, dict[str, Finished]]:
    """What the runs in several folders were asked for, and every cell that any of them has finished, by key.

    Raises:
        UsageError: a folder holds no run, or they are not parts of one run.
    """
    header: Header | None = None
    found: dict[str, Finished] = {}
    first = None
    for folder in folders:
        file = read_run(folder)
        if file is None or file.header is None or not file.header.described.cells:  # no plan: nothing may pass for that
            raise UsageError(
                f"{folder} holds no run that can be merged: {RUN} is missing or of another version. Give the folders "
                "that auditor run --shard wrote."
            )
        if not all(cell.is_probe for cell in file.header.described.cells):
            raise UsageError(
                f"{folder} holds a comparison or an audited claim, whose cells are parts of no run. Give folders that "
                "auditor run --shard wrote."
            )
        if file.header.version != __version__:  # the document will say that this version measured it
            raise UsageError(
                f"{folder} was made by auditor {file.header.version}, and this is {__version__}. Merge with the "
                "version that ran the shards, or run them again."
            )
        if header is None:
            header, first = file.header, folder
        elif differs := _differs(header, file.header):
            raise UsageError(
                f"{folder} and {first} are not parts of one run: they differ in {', '.join(differs)}. Run every shard "
                "with the same options, target and environment."
            )
        _add(found, read_cells(folder), {cell.key for cell in header.described.cells}, folder)
    if header is None:
        raise UsageError("no folder was given to merge; give the folders that auditor run --shard wrote.")
    return header.model_copy(update={"shard": ""}), found


def _differs(one: Header, other: Header) -> list[str]:
    """Names of what two runs were asked for or made in differently, besides what no number depends on."""
    said, too = _said(one), _said(other)
    return [name for name in dict.fromkeys((*said, *too)) if said.get(name) != too.get(name)]


def _said(header: Header) -> dict[str, object]:
    """What a run says that every part of it must say, by the names that users know."""
    described = header.described
    return {
        "version": header.version,
        **header.options,
        **{f"[{name}]": table for name, table in header.tables.items()},
        "seeds": header.seeds,
        "profile": header.profile,
        **described.environment,
        "target": described.target,
        "the checks of the target": described.validity,
        "the plan": described.cells,
    }


def _add(found: dict[str, Finished], more: Mapping[str, Finished], planned: Collection[str], folder: Path) -> None:
    for key, done in more.items():
        if key not in planned:
            raise UsageError(
                f"{folder / CELLS} holds {done.row.probe} seed {done.row.seed}, which {folder / RUN} does not plan; "
                "expected both as one run wrote them. Run the shard again."
            )
        known = found.setdefault(key, done)
        if known.row.status in REUSED and done.row.status not in REUSED:
            continue  # it broke off here, and was tried again elsewhere
        if known.row.status not in REUSED:
            found[key] = known = done
        if _numbers(known) != _numbers(done):
            raise UsageError(
                f"{folder / CELLS} gives other numbers for {done.row.probe} seed {done.row.seed} than another folder; "
                "equal cells must be equal. Run it again on one machine to see which holds."
            )


def _numbers(done: Finished) -> object:
    """What must be equal in two runs of one cell: everything but time and memory."""
    same = done.row.model_copy(update={"seconds": 0.0, "peak_rss_mb": None})
    return same, done.access, done.measured, done.tries, done.fixed
