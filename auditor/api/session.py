"""What every audit goes through: options, target, plan, run, files. Prints nothing."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auditor import registry
from auditor.api.files import prepare_folder, read_file, write_file
from auditor.api.options import Resolved, parse_seeds, read_tables, resolve, side_knowledge, with_defense_tables
from auditor.api.report import Report, file_formats
from auditor.document import RECIPE, Audit, to_bytes
from auditor.errors import ConfigError, UsageError
from auditor.targets.config import AUDIT_FILE, config_file

if TYPE_CHECKING:
    from torch import Tensor

    from auditor.compare.arms import DefenseRequest
    from auditor.document import TargetRow
    from auditor.evaluate.dp_claim.question import Question
    from auditor.policy import Policy
    from auditor.runner.assemble import RunSettings
    from auditor.runner.execute import Observer
    from auditor.runner.plan import PlannedCell, ProbeRequest
    from auditor.targets.target import Target


LOG = logging.getLogger("auditor")
UNRECORDED = ("out", "data_root", "plain", "format")
"""Options that change no number: where files lie and how they are shown. The document does not hold them."""


@dataclass(frozen=True, slots=True)
class Session:
    """Resolved options on one target path; `config` is the file they were read from."""

    path: Path
    resolved: Resolved
    config: Path | None = None

    @classmethod
    def open(cls, path: Path, given: Mapping[str, Any]) -> Session:
        """Reads the config file beside or named by `path` and resolves the options.

        Raises:
            UsageError: the path does not exist.
            ConfigError: the file or an option is wrong.
        """
        if not path.exists():
            raise UsageError(
                f"{path} does not exist. Give a folder with target.toml, an audit.toml, or a model file with --data; "
                '"auditor train" makes a target to try.'
            )
        file = config_file(path)
        if file is None:
            return cls(path, resolve(given, {}))
        return cls(path, resolve(given, read_tables(file), file.parent), file)

    @classmethod
    def without_target(cls, given: Mapping[str, Any]) -> Session:
        """A session about something that has no config file: options given and the environment alone."""
        return cls(Path(), resolve(given, {}))

    @property
    def out(self) -> Path | None:
        """The output folder, if one was asked for."""
        return Path(self.resolved["out"]) if self.resolved["out"] else None

    def load_target(self, *, data: str | None = None, split: str | None = None, trust_pickle: bool = False) -> Target:
        """The target, loaded with the session's threads and data root."""
        import torch

        from auditor.compare.arms import load_any
        from auditor.data.sources import resolve_root
        from auditor.runner.execute import TrainedCache

        self._say_what_is_not_read()
        torch.set_num_threads(self.resolved["threads"])
        return load_any(
            self.path,
            models=TrainedCache(),
            data_root=resolve_root(self.resolved["data_root"] or None),
            data=data,
            split=split,
            trust_pickle=trust_pickle,
            notify=LOG.warning,
        )

    def _say_what_is_not_read(self) -> None:
        if self.config is None or not self.path.is_dir():
            return
        other = self.config.with_name(AUDIT_FILE)
        if other != self.config and other.is_file():
            text = "%s beside %s is not read; give it as the target to use it instead."
            LOG.warning(text, other.name, self.config.name)

    def policy(self) -> Policy:
        """The policy that judges, with the file's own thresholds, limits and suppressions."""
        from auditor.policy import Policy

        tables = self.resolved.tables
        return Policy.from_tables(
            tables.get("gate", {}),
            tables.get("policy", {}),
            tables.get("suppress", []),
            name=self.resolved["policy"],
            fail_on=self.resolved["fail_on"] or None,
        )

    def seeds(self) -> tuple[int, ...]:
        """Attack seeds: as given, else the profile's."""
        from auditor.runner.plan import SEEDS_BY_PROFILE

        return (
            parse_seeds(self.resolved["seeds"])
            if self.resolved["seeds"]
            else SEEDS_BY_PROFILE[self.resolved["profile"]]
        )

    def probes(self) -> tuple[ProbeRequest, ...]:
        """The probes that the options choose."""
        from auditor.runner.plan import choose_probes

        return choose_probes(**{name: self.resolved[name] for name in ("only", "skip", "family", "profile")})

    def defenses(self, texts: Sequence[str], *, group: str | None = None) -> tuple[DefenseRequest, ...]:
        """`none`, the defences named, their modes and controls; a named group brings the balanced head along.

        Parameters that a text leaves open come from `[defenses.ID]`; without a text, every such table is asked for.
        """
        from auditor.compare.arms import with_controls

        asked = with_defense_tables(texts, self.resolved.tables.get("defenses"))
        told = [entry.id for entry in registry.entries("defenses").values() if entry.reference == "oracle"]
        return with_controls([*asked, *(told if group is not None else [])], profile=self.resolved["profile"])

    def plan(self, target: Target) -> tuple[PlannedCell, ...]:
        """Every cell of the run: of the target, then of each model that its recipe trains anew.

        Raises:
            ConfigError: there is none: nothing would be measured, and nothing may pass for that. Or the target cannot
                be trained anew.
        """
        from auditor.runner.plan import plan

        side = side_knowledge(self.resolved.tables.get("access"))
        profile, probes, trainings = self.resolved["profile"], self.probes(), self.resolved["training_seeds"]
        cells = plan(target, probes, seeds=self.seeds(), profile=profile, side=side)
        if not cells:
            raise ConfigError(f"no probe of this choice is about {target.name}; loosen only, skip, family or profile.")
        if trainings and target.recipe is None:
            raise ConfigError(
                f"training_seeds is {trainings}, and {target.name} cannot be trained anew. Give [target.train] and a "
                "factory (or build= and recipe=), or leave it out."
            )
        own = None if target.recipe is None else target.recipe.describe().get("seed")
        new = (seed for seed in count() if seed != own)  # that one would train the target itself again
        for seed in islice(new, trainings):
            cells += plan(target, probes, seeds=(seed,), profile=profile, side=side, arm=RECIPE)
        return cells

    def run(self, target: Target, *, observer: Observer, argv: tuple[str, ...] = ()) -> Report:
        """Runs the plan, writes `audit.json` and the reports asked for."""
        from auditor.runner.assemble import run_audit

        out, cells, settings = self.prepare(), self.plan(target), self._run_settings(argv)
        baseline = None
        if self.resolved["baseline"]:
            from auditor.policy.baseline import read_baseline

            baseline = read_baseline(read_file(Path(self.resolved["baseline"])))
        return self.keep(run_audit(target, cells, settings, observer=observer, out=out, baseline=baseline))

    def compare(
        self,
        target: Target,
        defenses: tuple[DefenseRequest, ...],
        *,
        group: Tensor | None,
        observer: Observer,
        argv: tuple[str, ...],
    ) -> Report:
        """Runs the comparison, writes `audit.json` and the reports asked for."""
        from auditor.runner.comparing import run_compare

        if self.resolved["training_seeds"]:
            raise ConfigError("training_seeds is for run; a comparison trains anew at every seed. Give seeds instead.")
        out, probes, settings = self.prepare(), self.probes(), self._run_settings(argv)
        return self.keep(run_compare(target, defenses, probes, settings, observer=observer, group=group, out=out))

    def claim(self, question: Question, target: Target | TargetRow, *, argv: tuple[str, ...], **how: Any) -> Report:
        """Audits a claim, `how` as `run_claim` takes it; `audit.json` holds the pre-registration before a run."""
        from auditor.runner.claiming import run_claim

        self.prepare()
        settings = self.claim_settings(question.seeds, argv)
        return self.keep(run_claim(question, target, settings, write=self._write_document, **how))

    def claim_settings(self, seeds: tuple[int, ...], argv: tuple[str, ...]) -> RunSettings:
        """Resolved of a claim's audit: seeds are those of its repeats."""
        return replace(self._run_settings(argv), seeds=seeds)

    def keep(self, audit: Audit) -> Report:
        """The report of a document, written where an output folder was asked for: `audit.json`, then the reports."""
        report = Report(audit)
        if self.out is not None:
            report.save(self.out, self.formats())
        return report

    def formats(self) -> list[str]:
        """Report ids to write beside `audit.json`.

        Raises:
            ConfigError: unknown format; the list is shown.
        """
        return file_formats(str(self.resolved["format"]).split(","))

    def _write_document(self, audit: Audit) -> None:
        if self.out is not None:
            write_file(self.out / "audit.json", to_bytes(audit))

    def prepare(self) -> Path | None:
        """The output folder, made and emptied of an earlier run's files; formats are checked before any cell."""
        self.formats()
        if self.out is None:
            return None
        out = prepare_folder(self.out)
        named = (getattr(entry.load(), "filename", None) for entry in registry.entries("reports").values())
        for name in ("audit.json", "cells.jsonl", *filter(None, named)):
            (out / name).unlink(missing_ok=True)
        return out

    def _run_settings(self, argv: tuple[str, ...]) -> RunSettings:
        from auditor.runner.assemble import RunSettings

        kept = {name: setting.value for name, setting in self.resolved.options.items() if name not in UNRECORDED}
        kept["baseline"] = Path(kept["baseline"]).name
        return RunSettings(
            seeds=self.seeds(),
            profile=self.resolved["profile"],
            policy=self.policy(),
            side=side_knowledge(self.resolved.tables.get("access")),
            config={**kept, **self.resolved.tables},
            config_file=_relative(self.config),
            argv=argv,
            exit_zero=self.resolved["exit_zero"],
        )


def _relative(file: Path | None) -> str:
    """A file as seen from the working directory, with slashes; empty for one outside of it."""
    if file is None:
        return ""
    here, place = Path.cwd(), file.resolve()
    return place.relative_to(here).as_posix() if place.is_relative_to(here) else ""


def group_column(path: Path, name: str | None, data_root: str | None) -> Tensor | None:
    """A named column of the target's data, int64 [items]; None when none was named.

    Raises:
        ConfigError: the data has no such column (the nearest one is offered).
    """
    if name is None:
        return None
    from auditor.data.sources import load_data, resolve_root
    from auditor.errors import nearest
    from auditor.targets.derived import tables_of

    table, folder = tables_of(path)
    source = str(folder / table.data.path) if table.data.path else str(table.data.name)
    columns = load_data(source, root=resolve_root(data_root)).columns
    if name not in columns:
        raise ConfigError(f'the data of this target has no column "{name}". {nearest(name, columns)}')
    return columns[name]
