"""What `demo`, `check` and `run` share: options, target, plan, audit, reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auditor import registry
from auditor.cli.config import Resolved, parse_seeds, read_tables, resolve, side_knowledge, with_defense_tables
from auditor.cli.console import note, prepare_folder, stderr, stdout, write_file
from auditor.document import Audit, to_bytes
from auditor.errors import ConfigError, UsageError
from auditor.targets.config import AUDIT_FILE, config_file

if TYPE_CHECKING:
    from torch import Tensor

    from auditor.compare.arms import DefenseRequest
    from auditor.document import TargetRow
    from auditor.evaluate.dp_claim.question import Question
    from auditor.policy import Policy
    from auditor.runner.assemble import RunSettings
    from auditor.runner.plan import PlannedCell, ProbeRequest
    from auditor.targets.target import Target


@dataclass(frozen=True, slots=True)
class Session:
    """One command's resolved options on one target path; `config` is the file they were read from."""

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
        other = file.with_name(AUDIT_FILE)
        if path.is_dir() and other != file and other.is_file():
            note(f"{other.name} beside {file.name} is not read; give it as the target to use it instead.")
        return cls(path, resolve(given, read_tables(file), file.parent), file)

    @classmethod
    def without_target(cls, given: Mapping[str, Any]) -> Session:
        """A session about something that is no target: options of the command line and the environment alone."""
        return cls(Path(), resolve(given, {}))

    @property
    def out(self) -> Path | None:
        """The output folder, if one was asked for."""
        return Path(self.resolved["out"]) if self.resolved["out"] else None

    def load_target(self, *, data: str | None = None, trust_pickle: bool = False) -> Target:
        """The target, loaded with the session's threads and data root."""
        import torch

        from auditor.compare.arms import load_any
        from auditor.data.sources import resolve_root
        from auditor.runner.execute import TrainedCache

        torch.set_num_threads(self.resolved["threads"])
        root = resolve_root(self.resolved["data_root"] or None)
        with nullcontext() if self.resolved["plain"] else stderr().status("loading the target"):
            return load_any(
                self.path, models=TrainedCache(), data_root=root, data=data, trust_pickle=trust_pickle, notify=note
            )

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
        """Every cell of the run."""
        from auditor.runner.plan import plan

        side = side_knowledge(self.resolved.tables.get("access"))
        return plan(target, self.probes(), seeds=self.seeds(), profile=self.resolved["profile"], side=side)

    def run(self, target: Target, *, argv: tuple[str, ...]) -> Audit:
        """Runs the plan, writes `audit.json` and the reports asked for, and returns the audit."""
        from auditor.cli.progress import observe
        from auditor.runner.assemble import run_audit

        out, cells, settings = self._prepare(), self.plan(target), self._run_settings(argv)
        baseline = None
        if self.resolved["baseline"]:
            from auditor.cli.console import read_file
            from auditor.policy.baseline import read_baseline

            baseline = read_baseline(read_file(Path(self.resolved["baseline"])))
        with observe(plain=self.resolved["plain"]) as observer:
            audit = run_audit(target, cells, settings, observer=observer, out=out, baseline=baseline)
        return self._written(audit)

    def compare(
        self, target: Target, defenses: tuple[DefenseRequest, ...], *, group: Tensor | None, argv: tuple[str, ...]
    ) -> Audit:
        """Runs the comparison, writes `audit.json` and the reports asked for, and returns the audit."""
        from auditor.cli.progress import observe
        from auditor.runner.comparing import run_compare

        out, probes, settings = self._prepare(), self.probes(), self._run_settings(argv)
        with observe(plain=self.resolved["plain"]) as observer:
            audit = run_compare(target, defenses, probes, settings, observer=observer, group=group, out=out)
        return self._written(audit)

    def claim(self, question: Question, target: Target | TargetRow, *, argv: tuple[str, ...], **how: Any) -> Audit:
        """Audits a claim, `how` as `run_claim` takes it; `audit.json` holds the pre-registration before a run."""
        from auditor.runner.claiming import run_claim

        self._prepare()
        settings = self.claim_settings(question.seeds, argv)
        return self._written(run_claim(question, target, settings, write=self._write_document, **how))

    def claim_settings(self, seeds: tuple[int, ...], argv: tuple[str, ...]) -> RunSettings:
        """Resolved of a claim's audit: seeds are those of its repeats."""
        return replace(self._run_settings(argv), seeds=seeds)

    def keep(self, audit: Audit) -> Audit:
        """Writes a document that was made without a run."""
        self._prepare()
        return self._written(audit)

    def _write_document(self, audit: Audit) -> None:
        if self.out is not None:
            write_file(self.out / "audit.json", to_bytes(audit))

    def _prepare(self) -> Path | None:
        """The output folder, made and emptied of an earlier run's files; formats are checked before any cell."""
        self._formats()
        if self.out is None:
            return None
        out = prepare_folder(self.out)
        named = (getattr(entry.load(), "filename", None) for entry in registry.entries("reports").values())
        for name in ("audit.json", "cells.jsonl", *filter(None, named)):
            (out / name).unlink(missing_ok=True)
        return out

    def _run_settings(self, argv: tuple[str, ...]) -> RunSettings:
        from auditor.runner.assemble import RunSettings

        places = ("out", "data_root")  # paths of this machine never enter the document
        kept = {name: setting.value for name, setting in self.resolved.options.items() if name not in places}
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

    def _written(self, audit: Audit) -> Audit:
        """`audit.json` always, then the reports asked for."""
        self._write_document(audit)
        if self.out is not None:
            for name in self._formats():
                report = registry.find("reports", name).load()()
                write_file(self.out / report.filename, report.render(audit))
        return audit

    def show(self, audit: Audit) -> None:
        """The terminal report on stdout, and where the files are."""
        report = registry.find("reports", "terminal").load()()
        console = stdout()
        report.print(audit, console, plain=self.resolved["plain"])
        if self.out is not None:
            files = ["audit.json", *(registry.find("reports", name).load()().filename for name in self._formats())]
            note("written: " + ", ".join(str(self.out / name) for name in files))

    def _formats(self) -> list[str]:
        """Report ids to write; `json` is always written and `terminal` is no file.

        Raises:
            ConfigError: unknown format; the list is shown.
        """
        names = [name.strip() for name in str(self.resolved["format"]).split(",") if name.strip()]
        for name in names:
            if name == "terminal":
                raise ConfigError("terminal is what is printed, not a file format; leave it out of --format.")
            registry.find("reports", name)
        return [name for name in dict.fromkeys(names) if name != "json"]


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
