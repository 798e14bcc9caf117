"""What every audit goes through: options, target, plan, run, files. Prints nothing."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auditor import registry
from auditor.api.files import check_folder, check_names, read_file
from auditor.api.options import (
    Resolved,
    Verb,
    parse_jobs,
    parse_seeds,
    read_tables,
    resolve,
    side_knowledge,
    with_defense_tables,
)
from auditor.api.report import Report, file_formats, files_of, openings_of, openings_of_files
from auditor.api.tracking import SHORT, check_tracker, log_audit
from auditor.document import Audit, naming, to_bytes
from auditor.errors import ConfigError, UsageError
from auditor.printable import error_text
from auditor.runner.record import CELLS, DOCUMENT, MODELS, OPENINGS, PARTIAL, RUN, Record, read_run
from auditor.stopping import stoppable
from auditor.targets.config import AUDIT_FILE, config_file

if TYPE_CHECKING:
    from auditor.compare.arms import DefenseRequest
    from auditor.policy import Policy
    from auditor.policy.baseline import Baseline
    from auditor.runner.assemble import RunSettings
    from auditor.runner.bench import Bench
    from auditor.runner.executor import Executor
    from auditor.runner.finished import Finished
    from auditor.runner.job import Job
    from auditor.runner.observer import Observer
    from auditor.runner.plan import ProbeRequest
    from auditor.runner.record import Described, Header
    from auditor.runner.shards import Shard
    from auditor.side_knowledge import SideKnowledge
    from auditor.targets.target import Target


LOG = logging.getLogger("auditor")
WORTH_A_WORKER_S = 10.0
"""CPU seconds of a plan for which it is worth to load the target once more."""
UNRECORDED = (
    *("out", "data_root", "plain", "format", "log"),
    *("device", "jobs", "cell_timeout", "max_memory", "resume", "accept_mixed_env", "shard", "executor"),
    *("ray_address", "discard_models", "save_flips"),
)
"""Options that change no number: where files lie, how they are shown, who does the work. The document has none.

The device does change numbers; what it came to is in the document's environment."""


@dataclass(frozen=True, slots=True)
class Session:
    """Resolved options on one target path; `config` is the file they were read from."""

    path: Path
    resolved: Resolved
    config: Path | None = None

    @classmethod
    def open(cls, path: Path, given: Mapping[str, Any], *, verb: Verb = "run") -> Session:
        """Reads the config file beside or named by `path` and resolves the options; `verb` as `resolve` takes it.

        Raises:
            UsageError: the path does not exist.
            ConfigError: the file or an option is wrong.
        """
        if not os.path.exists(path):  # False too for a name longer than any
            raise UsageError(
                f"{path} does not exist. Give a folder with target.toml, an audit.toml, or a model file with --data; "
                '"auditor train" makes a target to try.'
            )
        file = config_file(path)
        if file is None:
            return cls(path, resolve(given, {}, verb=verb))
        return cls(path, resolve(given, read_tables(file), file.parent, verb=verb), file)

    @classmethod
    def without_target(cls, given: Mapping[str, Any], *, verb: Verb = "run") -> Session:
        """A session about something that has no config file: options given and the environment alone."""
        return cls(Path(), resolve(given, {}, verb=verb))

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
        from auditor.targets.device import settle

        self._say_what_is_not_read()
        torch.set_num_threads(self.resolved["threads"])
        device = self.devices()[0]
        settle(device)
        target = load_any(
            self.path,
            models=TrainedCache(),
            data_root=resolve_root(self.resolved["data_root"] or None),
            data=data,
            split=split,
            trust_pickle=trust_pickle,
            notify=LOG.warning,
        )
        return target.on(device)

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
        from auditor.runner.plan import seeds_of

        asked, usual = self.resolved["seeds"], seeds_of(self.resolved["profile"])
        return parse_seeds(asked) if asked else usual

    def side(self) -> SideKnowledge:
        """`[access]`: what an adversary is assumed to know besides the model."""
        folder = Path() if self.config is None else self.config.parent
        return side_knowledge(self.resolved.tables.get("access"), folder)

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

    def job(self, *, data: str | None = None, split: str | None = None, trust_pickle: bool = False) -> Job:
        """What is to be loaded and asked, as plain values."""
        from auditor.data.catalogue import is_file
        from auditor.runner.job import Job

        resolved, root = self.resolved, self.resolved["data_root"]
        return Job(  # absolute: the model's code may change the working directory before the graph is read
            path=os.path.abspath(self.path),
            data=os.path.abspath(os.path.expanduser(data)) if data is not None and is_file(data) else data,
            split=split,
            trust_pickle=trust_pickle,
            data_root=os.path.abspath(root) if root else None,
            threads=resolved["threads"],
            device=self.devices()[0],
            seeds=self.seeds(),
            training_seeds=resolved["training_seeds"],
            side=asdict(self.side()),
            exposed=resolved["exposed"],
            save_flips=resolved["save_flips"],
            models=os.path.abspath(self.out / MODELS) if self.out else "",
            **{name: resolved[name] for name in ("only", "skip", "family", "profile")},
        )

    def bench(self, target: Target) -> Bench:
        """The executor that runs in the caller's process, as a live model must."""
        from auditor.runner.bench import Bench

        return Bench.of(target, self.job())

    def devices(self) -> tuple[str, ...]:
        """What a worker each may run on: the CPU, or the GPUs that were asked for.

        Raises:
            ConfigError: torch finds no such GPU.
        """
        if self.resolved["device"] == "cpu":  # needs no torch
            return ("cpu",)
        from auditor.targets.device import devices_of

        return devices_of(self.resolved["device"])

    def jobs(self, arms: int = 1) -> int:
        """Worker processes: as many as were asked for, else one a core as far as there is work for each; one a cell.

        Of a comparison one a fit, since what is trained is trained in one process. On GPUs one each.

        Raises:
            ConfigError: more were asked for than there are GPUs.
        """
        asked, new = self.probes(), self.resolved["training_seeds"]
        times = [new + (1 if request.entry.deterministic else len(self.seeds())) for request in asked]
        most = sum(times) if arms == 1 else (arms - 1) * len(self.seeds())
        jobs = self.jobs_for(most)
        if self.resolved["jobs"] == "auto":
            each = (request.entry.cost.get(self.resolved["profile"], 0.0) for request in asked)
            estimate = arms * sum(n * seconds for n, seconds in zip(times, each, strict=True))
            jobs = min(jobs, math.ceil(estimate / WORTH_A_WORKER_S))
        return max(1, jobs)

    def jobs_for(self, cells: int) -> int:
        """Worker processes for so many cells that may run side by side; on GPUs one each.

        Raises:
            ConfigError: more were asked for than there are GPUs.
        """
        devices = self.devices()
        jobs: int = min(parse_jobs(self.resolved["jobs"], self.resolved["threads"]), cells)
        if devices != ("cpu",) and jobs > len(devices):
            if self.resolved["jobs"] != "auto":
                raise ConfigError(
                    f"jobs is {self.resolved['jobs']} with device = {self.resolved['device']}; expected one worker a "
                    f"GPU, and there {'is 1' if len(devices) == 1 else f'are {len(devices)}'}. Leave --jobs out."
                )
            jobs = len(devices)
        return max(1, jobs)

    def workers(self, job: Job, *, jobs: int | None = None) -> Executor:
        """The executor that runs in processes of its own, here or on a cluster: user code is nowhere else."""
        from auditor.runner.processes import Limits, Processes

        self._say_what_is_not_read()
        seconds, memory = self.resolved["cell_timeout"], self.resolved["max_memory"]
        limits = Limits(seconds or None, max(1, int(memory * 2**30)) if memory else None)
        if jobs is None and self.resolved["executor"] == "ray":
            from auditor.runner.ray_tasks import RayTasks

            return RayTasks(job, limits, self.resolved["ray_address"] or None)
        return Processes(job, jobs or self.jobs(), limits, self.devices())

    def run(
        self, start: Callable[[], Executor], *, observer: Observer, argv: tuple[str, ...] = (), models: bool = False
    ) -> Report:
        """Runs the plan, writes `audit.json` and the reports asked for; `start` loads the target.

        With `models`, those that are trained on the way are kept in the output folder.

        Nothing on the disk changes before everything that was asked for is understood and the target is loaded.
        """
        from auditor.runner.running import run_audit
        from auditor.runner.shards import Shard

        settings, baseline = self.settings(argv), self.baseline()
        shard = Shard.parse(self.resolved["shard"]) if self.resolved["shard"] else None
        if self.resolved["save_flips"] and self.out is None:
            raise ConfigError("save_flips came without a folder for the files; give -o DIR.")
        if shard is not None and self.out is None:
            raise ConfigError("shard came without a folder for its cells; give -o DIR.")
        if shard is not None and self.resolved["log"]:
            raise ConfigError("log came with shard; a part has no verdict to log. Give --log to auditor merge instead.")
        with self._begun(start, argv, shard, models=models) as begun:
            chosen = None if shard is None else shard.of_cells(begun.described.cells)
            audit = run_audit(
                begun.executor,
                begun.described,
                settings,
                observer=observer,
                record=begun.record,
                kept=begun.kept,
                chosen=chosen,
                baseline=baseline,
            )
            return self.keep(audit, begun.record, complete=shard is None)

    @contextmanager
    def _begun(
        self, start: Callable[[], Executor], argv: tuple[str, ...], shard: Shard | None = None, *, models: bool = False
    ) -> Iterator[Begun]:
        """A loaded target, and the output folder with what an interrupted run has left there."""
        self.check_out()
        with stoppable(), closing(start()) as executor:
            described = executor.describe()
            header = self._header(described, argv, shard)
            with Record.opened(self.out, discard_models=self.resolved["discard_models"]) as record:
                how = {"fresh": not self.resolved["resume"], "mixed": self.resolved["accept_mixed_env"]}
                kept = record.begin(header, models=models, **how)
                if kept:
                    LOG.warning("going on from an interrupted run: %d cells are finished already", len(kept))
                try:
                    yield Begun(executor, described, record, kept)
                except KeyboardInterrupt:  # the first one ends the cells; this one comes while their document is made
                    if self.out is not None:
                        LOG.warning("stopped before %s was written; finished cells are kept in %s", PARTIAL, self.out)
                    raise

    def _header(self, described: Described, argv: tuple[str, ...], shard: Shard | None) -> Header:
        from auditor import __version__
        from auditor.runner.record import Header

        return Header(
            version=__version__,
            described=described,
            seeds=self.seeds(),
            profile=self.resolved["profile"],
            options=self._recorded(),
            tables=dict(self.resolved.tables),
            config_file=_relative(self.config),
            argv=argv,
            shard="" if shard is None else str(shard),
        )

    def baseline(self) -> Baseline | None:
        """Accepted results, if any were named."""
        if not self.resolved["baseline"]:
            return None
        from auditor.policy.baseline import read_baseline

        return read_baseline(read_file(Path(self.resolved["baseline"])))

    def compare(
        self,
        defenses: tuple[DefenseRequest, ...],
        *,
        observer: Observer,
        data: str | None = None,
        group: str | None = None,
        argv: tuple[str, ...] = (),
    ) -> Report:
        """Runs the comparison, writes `audit.json` and the reports asked for, as `run` does."""
        from auditor.runner.comparing import run_compare

        self._refuse_parts("a comparison")
        probes, settings = self.probes(), self.settings(argv)
        arms = tuple(request.spec for request in defenses)
        job = self.job(data=data).model_copy(update={"arms": arms, "group": group})
        with self._begun(lambda: self.workers(job, jobs=self.jobs(len(arms))), argv, models=True) as begun:
            audit = run_compare(
                begun.executor,
                begun.described,
                defenses,
                probes,
                settings,
                observer=observer,
                record=begun.record,
                kept=begun.kept,
            )
            return self.keep(audit, begun.record)

    def claim(
        self, start: Callable[[], Executor], *, observer: Observer, argv: tuple[str, ...] = (), **how: Any
    ) -> Report:
        """Audits a claim, `how` as `run_claim` takes it; the pre-registration is on the disk before a run."""
        from auditor.runner.claim_runs import run_claim

        self._refuse_parts("a claim")
        settings = self.settings(argv)
        with self._begun(start, argv) as begun:
            audit = run_claim(
                begun.executor,
                begun.described,
                replace(settings, seeds=tuple(cell.seed for cell in begun.described.cells)),
                write=lambda part: begun.record.partial(to_bytes(part)),
                observer=observer,
                record=begun.record,
                kept=begun.kept,
                **how,
            )
            return self.keep(audit, begun.record)

    def _refuse_parts(self, what: str) -> None:
        """Raises ConfigError where it is asked to be carried out elsewhere: its cells share what they fit.

        What is for other verbs alone and changes nothing about where it is carried out was set aside, and is told.
        """
        for line in self.resolved.set_aside:
            LOG.warning("%s", line)
        given = [name for name in ("shard", "ray_address") if self.resolved[name]]
        if self.resolved["executor"] != "processes":
            given.insert(0, "executor")
        if given:
            raise ConfigError(f"{', '.join(given)} is for run; {what} is carried out on one machine. Leave it out.")

    def keep(self, audit: Audit, record: Record, *, complete: bool = True) -> Report:
        """The report of a document. In the output folder it takes the place of the last one, if it is complete."""
        report = Report(audit)
        if complete and not report.interrupted:
            record.commit(files_of(audit, self.formats()))
            self._log(audit)
        else:
            record.partial(to_bytes(audit))
        if record.holds_edits:
            LOG.warning("%s holds edits that name true edges of the graph: keep it as private as the graph", self.out)
        return report

    def _log(self, audit: Audit) -> None:
        """Hands a complete audit with its page to the tracker; what goes wrong there is told, and changes nothing.

        Trackers are read by more people than the data are: the audit goes there without the edges and items it names.
        """
        if not (name := self.resolved["log"]):
            return
        try:
            nameless = naming(audit, 0)
            log_audit(nameless, files_of(nameless, dict.fromkeys([*self.formats(), "html"])))
        except Exception as error:  # of somebody else's server
            LOG.warning("the audit stands, but was not logged to %s: %s", name, error_text(error, SHORT))

    def formats(self) -> list[str]:
        """Report ids to write beside `audit.json`.

        Raises:
            ConfigError: unknown format; the list is shown.
        """
        return file_formats(str(self.resolved["format"]).split(","))

    def check_out(self) -> None:
        """Raises UsageError where formats or tracker are unknown or lack a package, or a place cannot be written."""
        openings = openings_of(self.formats())
        if self.resolved["log"]:
            check_tracker(self.resolved["log"])
        if self.out is not None:
            check_folder(self.out)
            ours = OPENINGS if not (self.out / RUN).is_file() else {RUN: OPENINGS[RUN], CELLS: ""}  # cells may be torn
            held = read_run(self.out)
            earlier = openings_of_files(() if held is None else set(held.files) - set(openings))  # they will be removed
            check_names(self.out, {**earlier, **openings, PARTIAL: openings[DOCUMENT], **ours})

    def _recorded(self) -> dict[str, Any]:
        """The options that the document holds."""
        kept = {name: setting.value for name, setting in self.resolved.options.items() if name not in UNRECORDED}
        return {**kept, "baseline": Path(kept["baseline"]).name}

    def settings(self, argv: tuple[str, ...], config_file: str | None = None) -> RunSettings:
        """What a run is asked for, besides target and plan."""
        from auditor.runner.assemble import RunSettings

        return RunSettings(
            seeds=self.seeds(),
            profile=self.resolved["profile"],
            policy=self.policy(),
            side=self.side(),
            config={**self._recorded(), **self.resolved.tables},
            config_file=_relative(self.config) if config_file is None else config_file,
            argv=argv,
            exit_zero=self.resolved["exit_zero"],
        )


@dataclass(frozen=True, slots=True)
class Begun:
    """A run that can begin: the target is loaded, the output folder is its own; `kept` cells need not run again."""

    executor: Executor
    described: Described
    record: Record
    kept: Mapping[str, Finished]


def _relative(file: Path | None) -> str:
    """A file as seen from the working directory, with slashes; empty for one outside of it."""
    if file is None:
        return ""
    here, place = Path.cwd(), file.resolve()
    return place.relative_to(here).as_posix() if place.is_relative_to(here) else ""
