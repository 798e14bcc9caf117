"""Resolves the options of a run: command line > environment `AUDITOR_*` > file > default."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from numbers import Integral
from pathlib import Path
from typing import Any, Literal

from auditor.errors import KINDS, ConfigError, DataError, nearest, shown
from auditor.reading.files import bytes_of
from auditor.registry import LARGEST, canonical_spec, parse_spec
from auditor.side_knowledge import FILE, SideKnowledge
from auditor.targets.config import read_target_file

RUN_TABLES = ("run", "gate", "policy", "access", "suppress", "defenses")
PATHS = ("baseline", "out", "data_root")
LEAST_TRAININGS = 3
MOST_SEEDS = 1_000
MOST_EXPOSED = 1_000
RUN_ALONE: Mapping[str, tuple[Any, str]] = {
    "exposed": (0, "is for run alone and is not used: compare and dp-claim name nobody"),
    "save_flips": (False, "is for run alone and is not used: compare and dp-claim keep no edits"),
    "training_seeds": (0, "is for run alone and is not used: compare and dp-claim train by their own seeds"),
}
NO_PROBES = "is for run and compare and is not used: dp-claim runs no probes"
SET_ASIDE: Mapping[str, Mapping[str, tuple[Any, str]]] = {
    "run": {},
    "compare": RUN_ALONE,
    "dp-claim": {
        **RUN_ALONE,
        **dict.fromkeys(("only", "skip", "family"), ("", NO_PROBES)),
        "profile": ("standard", NO_PROBES),
        "seeds": ("", "is for run and compare and is not used: dp-claim has --seed and --runs"),
    },
}
"""What a verb has no use for: the value there, and what is said. A config file and an environment are shared between
verbs, so that what they say of it is set aside, and told."""
MOST = 1e9
"""Seconds, and GB, of a cell: more than any machine has, and little enough to be counted in bytes."""
THREADS_A_CORE = 4
DEFAULTS: Mapping[str, Any] = {
    "profile": "standard",
    "only": "",
    "skip": "",
    "family": "",
    "seeds": "",
    "training_seeds": 0,
    "exposed": 10,
    "policy": "standard",
    "fail_on": "",
    "baseline": "",
    "out": "",
    "format": "html",
    "log": "",
    "threads": 1,
    "device": "cpu",
    "data_root": "",
    "exit_zero": False,
    "plain": False,
    "jobs": "auto",
    "cell_timeout": 0.0,
    "max_memory": 0.0,
    "resume": True,
    "accept_mixed_env": False,
    "discard_models": False,
    "save_flips": False,
    "shard": "",
    "executor": "processes",
    "ray_address": "",
}
Verb = Literal["run", "compare", "dp-claim"]
EXECUTORS = ("processes", "ray")
DEVICE = re.compile(r"auto|cpu|cuda(:\d{1,3})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Setting:
    """One resolved option and where it came from."""

    value: Any
    origin: str


@dataclass(frozen=True, slots=True)
class Resolved:
    """Every option of a run, and the tables of the config file that are not options.

    Attributes:
        options: by name.
        tables: by name.
        set_aside: what a shared place says that is for other verbs alone, a sentence each.
    """

    options: Mapping[str, Setting]
    tables: Mapping[str, Any]
    set_aside: tuple[str, ...] = ()

    def __getitem__(self, name: str) -> Any:
        return self.options[name].value

    def text(self) -> str:
        """`name = value  # origin`, one per line: what `--print-config` shows."""
        lines = [f"{name} = {json.dumps(setting.value)}  # {setting.origin}" for name, setting in self.options.items()]
        lines += [f"{name} = {json.dumps(table, default=str)}  # file" for name, table in self.tables.items()]
        return "\n".join(lines)


def read_tables(path: Path) -> dict[str, Any]:
    """The tables of a run in a TOML file, every other table checked too; `[tool.auditor]`'s in a pyproject.toml.

    Raises:
        UsageError: no such file.
        ConfigError: not TOML, an unknown table or key, or no `[tool.auditor]` in a pyproject.toml.
    """
    file = read_target_file(path)
    return {name: getattr(file, name) for name in RUN_TABLES if getattr(file, name) is not None}


NAMING = ("only", "family")
"""Options that choose tests: empty, as a variable in a script may be, one would choose all."""


def resolve(
    given: Mapping[str, Any],
    tables: Mapping[str, Any],
    folder: Path = Path(),
    *,
    verb: Verb = "run",
) -> Resolved:
    """Options from all four places.

    Args:
        given: options of the command line; None means not given.
        tables: the config file's tables.
        folder: of the config file; its paths are relative to it, as those of `[data]` are.
        verb: whose options they are; what others have a use for alone is set aside.

    Raises:
        ConfigError: an unknown key in `[run]`, or a value of the wrong type, wherever it came from.
    """
    file = tables.get("run", {})
    if not isinstance(file, dict):
        raise ConfigError("[run] must be a table of options.")
    for key in file:
        if key not in DEFAULTS:
            raise ConfigError(f'[run] has no option "{key}". {nearest(key, DEFAULTS)}')
    options = {}
    for name, default in DEFAULTS.items():
        variable = f"AUDITOR_{name.upper()}"
        if given.get(name) is not None:
            if name in NAMING and given[name] == "":
                raise ConfigError(f"{name} was given and is empty: every test would run. Name some, or leave it out.")
            options[name] = Setting(_typed(given[name], default, name), "command line")
        elif variable in os.environ:
            options[name] = Setting(_typed(os.environ[variable], default, variable), f"environment {variable}")
        elif name in file:
            value = _typed(file[name], default, f"[run] {name}")
            options[name] = Setting(str(folder / value) if name in PATHS and value else value, "file")
        else:
            options[name] = Setting(default, "default")
    _check_limits(options)
    aside = tuple(_set_aside(options, SET_ASIDE[verb]))
    return Resolved(options, {name: tables[name] for name in RUN_TABLES if name != "run" and name in tables}, aside)


def _set_aside(options: dict[str, Setting], of_others: Mapping[str, tuple[Any, str]]) -> Iterator[str]:
    """Takes what is for other verbs alone out of the options, and says so where somebody wrote it."""
    for name, (value, why) in of_others.items():
        found = options[name]
        options[name] = Setting(value, "default")
        if found.origin != "default" and found.value != value:
            yield f"{name} = {json.dumps(found.value)} ({found.origin}) {why}."


def _check_limits(options: Mapping[str, Setting]) -> None:
    """Raises ConfigError for a value that has the right type and cannot be meant."""
    trainings = options["training_seeds"].value
    if trainings != 0 and not LEAST_TRAININGS <= trainings <= MOST_SEEDS:
        raise ConfigError(
            f"training_seeds is {trainings}; expected 0, or at least {LEAST_TRAININGS}, since fewer say nothing of a "
            f"recipe, and at most {MOST_SEEDS}."
        )
    if not 0 <= (exposed := options["exposed"].value) <= MOST_EXPOSED:
        raise ConfigError(
            f"exposed is {exposed}; expected 0, which names nobody, or how many of the most exposed edges and training "
            f"items to name, at most {MOST_EXPOSED:,}."
        )
    most = THREADS_A_CORE * (os.cpu_count() or 1)
    if not 1 <= options["threads"].value <= most:
        raise ConfigError(
            f"threads is {options['threads'].value}; expected at least 1 and at most {most}, {THREADS_A_CORE} for each "
            "core. Give as many as there are cores."
        )
    if (executor := options["executor"].value) not in EXECUTORS:
        raise ConfigError(
            f'executor is "{executor}"; expected {" or ".join(EXECUTORS)}. {nearest(executor, EXECUTORS)}'
        )
    if options["ray_address"].value and executor != "ray":
        raise ConfigError("ray_address came without executor = ray; give --executor ray, or leave it out.")
    if not DEVICE.fullmatch(device := options["device"].value):
        raise ConfigError(
            f'device is "{device}"; expected auto, cpu, cuda, or cuda:i for the i-th GPU, from 0. Give one of these; '
            "auto takes a GPU where there is one."
        )
    if device != "cpu" and executor == "ray":
        raise ConfigError(
            f'device is "{device}" with executor = ray; expected cpu, since tasks of a cluster are dealt by their '
            "cores. Leave --device out, or --executor."
        )
    for name, unit in (("cell_timeout", "seconds"), ("max_memory", "GB")):
        if not 0 <= options[name].value <= MOST:
            raise ConfigError(
                f"{name} is {options[name].value}; expected {unit} above 0, at most {MOST:,.0f}, or 0 for the default."
            )


def with_defense_tables(texts: Sequence[str], table: Any) -> list[str]:
    """Defences as `id:key=value,…`, the parameters of `[defenses.ID]` filled in where the text gives none.

    Without a text, every table is a defence asked for.

    Raises:
        ConfigError: a table's value is no word, number or boolean.
    """
    tables = {id_: _words(id_, given) for id_, given in (table or {}).items()}
    filled = []
    for text in texts or list(tables):
        id_, params = parse_spec(text)
        filled.append(canonical_spec(id_, {**tables.get(id_, {}), **params}))
    return filled


def _words(id_: str, table: Mapping[str, Any]) -> dict[str, str]:
    for key, value in table.items():
        if not isinstance(value, str | int | float):
            raise ConfigError(f"[defenses.{id_}] {key} is {value!r}; expected a word, a number, true or false.")
    return {key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in table.items()}


def parse_seeds(text: str) -> tuple[int, ...]:
    """`0,1,2` as (0, 1, 2).

    Raises:
        ConfigError: not whole numbers >= 0, or one twice.
    """
    try:
        seeds = tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(f'--seeds is "{text}"; expected whole numbers like 0,1,2.') from None
    if len(seeds) > MOST_SEEDS:
        raise ConfigError(f"--seeds names {len(seeds)} seeds; expected at most {MOST_SEEDS}.")
    if min(seeds) < 0 or max(seeds) > LARGEST or len(set(seeds)) != len(seeds):
        raise ConfigError(f'--seeds is "{text}"; expected distinct whole numbers from 0 to {LARGEST}.')
    return seeds


def parse_jobs(text: str, threads: int) -> int:
    """Worker processes: as many as there are cores for their threads where the text is `auto`.

    Raises:
        ConfigError: neither `auto` nor a whole number from 1 to four times the cores.
    """
    import joblib

    cores: int = joblib.cpu_count()
    if text == "auto":
        return max(1, cores // threads)
    if text.isdecimal() and 1 <= int(text) <= 4 * cores:
        return int(text)
    raise ConfigError(f'jobs is "{text}"; expected auto, or a whole number from 1 to {4 * cores} ({cores} cores here).')


def side_knowledge(table: Any, folder: Path = Path()) -> SideKnowledge:
    """`[access]` as SideKnowledge, a file in it as an absolute path with its digest.

    Args:
        table: as it stands in the config file.
        folder: of the config file, which its paths are relative to.

    Raises:
        ConfigError: unknown key or a value out of range.
        DataError: a file that cannot be read.
    """
    known = [f.name for f in fields(SideKnowledge) if f.name != "explanations_sha256"]
    for key in table or {}:
        if key not in known:
            raise ConfigError(f'[access] has no key "{key}". {nearest(key, known)}')
    side = SideKnowledge(**(table or {}))
    if not side.explanations_file:
        return side
    path = Path(os.path.abspath(folder / side.explanations_file))
    raw = bytes_of(path, error=DataError, expected="an .npz file with the explanations. Correct the path.")
    return replace(side, explanations=f"{FILE}{path}", explanations_sha256=hashlib.sha256(raw).hexdigest())


def _typed(value: Any, default: Any, place: str) -> Any:
    """`value` in the default's type; lists become comma lists, text is parsed.

    Raises:
        ConfigError: it is of another type; true and false are no numbers and no text.
    """
    if isinstance(default, str):
        if isinstance(value, list):
            return ",".join(_word(item, f"an entry of {place}") for item in value)
        return _word(value, place)
    if isinstance(value, str) and isinstance(default, bool):
        if value.lower() not in ("0", "1", "true", "false"):
            raise ConfigError(f'{place} is "{value}"; expected {KINDS[bool]}.')
        return value.lower() in ("1", "true")
    if isinstance(value, str) and isinstance(default, int):
        if not value.isdecimal() or len(value) > 18:
            raise ConfigError(f'{place} is "{value}"; expected {KINDS[int]}, 0 or more.')
        return int(value)
    if isinstance(default, float) and not isinstance(value, bool):
        try:
            return float(value)
        except (TypeError, ValueError, OverflowError):
            raise ConfigError(f"{place} is {shown(value)}; expected {KINDS[float]}.") from None
    kind = type(default)
    if kind is int and not isinstance(value, bool) and isinstance(value, Integral):  # also a NumPy number
        return int(value)
    if type(value) is not kind:
        raise ConfigError(f"{place} is {shown(value)}; expected {KINDS[kind]}.")
    return value


def _word(value: object, place: str) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ConfigError(f"{place} is {shown(value)}; expected {KINDS[str]}.")
    return str(value)
