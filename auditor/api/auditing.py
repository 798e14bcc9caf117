"""`audit`, `check`, `load_target`: what the commands of these names call."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from auditor.api.progress import observer_of
from auditor.api.report import Report
from auditor.api.session import LOG, Session
from auditor.errors import UsageError
from auditor.stopping import stoppable

if TYPE_CHECKING:
    from torch import nn

    from auditor.document import TargetRow, ValidityRow
    from auditor.runner.observer import Observer
    from auditor.runner.plan import PlannedCell
    from auditor.targets.target import Target

    Place = str | os.PathLike[str]
    Words = str | Iterable[str] | None


def audit(
    model: nn.Module | Target | Place,
    data: Any = None,
    *,
    split: str | Mapping[str, Any] | None = None,
    claimed_accuracy: float | None = None,
    reference: Place | None = None,
    call: Mapping[str, str | int] | None = None,
    adapter: Callable[..., Any] | None = None,
    transform: Literal["none", "row-normalize"] | None = "none",
    build: Callable[[], nn.Module] | None = None,
    recipe: Mapping[str, Any] | None = None,
    name: str | None = None,
    only: Words = None,
    skip: Words = None,
    family: Words = None,
    profile: str | None = None,
    seeds: str | Iterable[int] | None = None,
    training_seeds: int | None = None,
    exposed: int | None = None,
    policy: str | None = None,
    fail_on: str | None = None,
    baseline: Place | None = None,
    out: Place | None = None,
    formats: Iterable[str] | None = (),
    log: str | None = None,
    threads: int | None = None,
    device: str | None = None,
    data_root: Place | None = None,
    exit_zero: bool | None = None,
    jobs: int | str | None = None,
    cell_timeout: float | None = None,
    max_memory: float | None = None,
    resume: bool | None = None,
    accept_mixed_env: bool | None = None,
    discard_models: bool | None = None,
    save_flips: bool | None = None,
    shard: str | None = None,
    executor: str | None = None,
    ray_address: str | None = None,
    progress: Observer | Literal["auto"] | None = "auto",
    trust_pickle: bool | None = False,
    argv: Iterable[str] | None = (),
) -> Report:
    """Audits a trained model: attacks, controls, intervals, verdict. What `auditor run` calls.

    The model is copied to the CPU in float32. The caller's model, its mode, the global random generators, the default
    dtype and the number of threads are left as they were. What is None is taken from the environment (`AUDITOR_…`),
    the config file beside a path, or the default, in this order.

    Args:
        model: a trained `nn.Module`, a `Target`, or the path of a target as `auditor run` takes it.
        data: of a module: PyG `Data` (x [N, F], edge_index [2, E], y [N]), `Batch`, a list or `Dataset` of `Data`, or
            a data set's name or path. Of a path: a name or path that replaces its own data. Of a Target: None.
        split: None for the one that the data name; a spec (`"masks:0"`, `"file:split.npz"`); or
            `{"train": …, "test": …, "val": …}` of booleans [items] or ids.
        claimed_accuracy: test accuracy that you know the model has, in [0, 1]; checked.
        reference: of a module: a `reference.safetensors` that its answers must agree with.
        call: of a module: which field each parameter of its forward takes, where the rules cannot decide
            (`{"edge_weight": "edge_attr"}`, `{"output": 0}`).
        adapter: of a module: `adapter(model, data) -> logits`, for a forward that no call can be found for.
        transform: of a module: what its features still have to go through.
        build: of a module: makes a fresh, untrained one. With `recipe` it lets twins be trained.
        recipe: of a module: the keys of `[target.train]` that it was trained with.
        name: of a module: what reports call it; its class by default.
        only: probes to run, `id` or `id:key=value`; a list, or one text with commas.
        skip: probes to leave out.
        family: `privacy`, `robustness`, `shift`.
        profile: `quick`, `standard` (default) or `full`.
        seeds: of the attacks, whole numbers >= 0; by profile if None.
        training_seeds: trains the target's recipe anew so many times, 3 or more, and audits those models too: what is
            said of them holds for the recipe, not for this target alone. 0 (default) for none; needs a recipe.
        exposed: names so many of the most exposed edges and training items in the document, by their indices; 10 by
            default. These are training data themselves; 0 names nobody.
        policy: `lenient`, `standard` (default), `strict`, or a `[policy.NAME]` of the config file.
        fail_on: severity from which a result fails: `low`, `medium`, `high`, `critical`.
        baseline: path of accepted results.
        out: folder for `audit.json` and the reports.
        formats: reports to write beside `audit.json`; None for those of the config file.
        log: a tracker that the finished audit is logged to besides: `"mlflow"`. What goes wrong there is told to the
            logger `auditor` and changes nothing.
        threads: torch threads during the audit, 1 by default; part of what a rerun must share.
        device: where models are run: `cpu` (default), `cuda` (every GPU of one kind, a worker each), `cuda:i`, or
            `auto`: a GPU where there is one. What is trained is trained on the CPU. Part of what a rerun must share.
        data_root: folder of raw data sets.
        exit_zero: a failed gate has exit code 0.
        jobs: of a path: worker processes, `"auto"` (default) for one a core. Whatever the model's code does there
            (exit, hang, take all memory), it costs one cell and no more. A live model cannot be sent to another
            process: it runs in yours. `save_target` and an audit of the folder have all of this.
        cell_timeout: of a path: seconds after which a cell is ended; by default 20 times its estimate, at least 600.
        max_memory: of a path: GB that one worker may take; by default its part of three quarters of what is free.
        resume: goes on from an interrupted run in `out` (default); False starts over.
        accept_mixed_env: goes on although other versions, threads or another device made what is there.
        discard_models: of a path: keeps no model that is trained on the way in `out` after the run; by default a run
            that goes on takes them from there. Those of a live model are never kept: no file holds its code.
        save_flips: keeps the verified edits of each cell as `perturbations/<cell key>.npz` in `out`. They name true
            edges of the private graph; by default none is kept.
        shard: `"i/n"`: only the i-th of n parts of the cells, kept in `out` for `auditor merge`; no verdict.
        executor: of a path: `"processes"` (default), or `"ray"` for the Ray cluster at `ray_address` (else
            `RAY_ADDRESS`, else one on this machine), on which every path must mean the same.
        ray_address: `"host:port"` of that cluster.
        progress: `"auto"` for one line a finished cell to the logger `auditor` (level INFO), None for nothing, or
            your own observer.
        trust_pickle: of a path: unpickles a whole module, which runs code that came inside the file.
        argv: recorded as what started the run.

    Raises:
        UsageError: arguments that cannot be understood or do not belong together. Among them ConfigError, TaskError
            (a task that is not audited), CallError, and DataError (malformed data or split).
        TargetError: the model was refused, cannot be loaded, copied or run.

    A failed gate raises nothing: see `Report.verdict` and `Report.raise_for_verdict`.
    """
    given = _options(only, skip, family, profile, seeds, data_root, threads, device) | {
        "training_seeds": training_seeds,
        "exposed": exposed,
        "policy": policy,
        "fail_on": fail_on,
        "baseline": None if baseline is None else os.fspath(baseline),
        "out": None if out is None else os.fspath(out),
        "format": None if formats is None else _text(formats),
        "log": log,
        "exit_zero": exit_zero,
        "jobs": None if jobs is None else str(jobs),
        "cell_timeout": cell_timeout,
        "max_memory": max_memory,
        "resume": resume,
        "accept_mixed_env": accept_mixed_env,
        "discard_models": discard_models,
        "save_flips": save_flips,
        "shard": shard,
        "executor": executor,
        "ray_address": ray_address,
    }
    session = _session(model, given)
    device = session.devices()[0]
    live = _live(claimed_accuracy, reference, call, adapter, transform, build, recipe, name)
    observer = observer_of(progress, LOG.info)
    if isinstance(model, str | os.PathLike):
        job = session.job(**_of_path(data, split, live, trust_pickle=trust_pickle))
        return session.run(lambda: session.workers(job), observer=observer, argv=tuple(argv or ()), models=True)
    from auditor.runner.undisturbed import undisturbed

    _refuse_limits(jobs, cell_timeout, max_memory)
    with undisturbed(session.resolved["threads"], device):
        target = _target(session, model, data, split, live, trust_pickle=trust_pickle).on(device)
        return session.run(lambda: session.bench(target), observer=observer, argv=tuple(argv or ()))


@dataclass(frozen=True, slots=True, eq=False)
class Check:
    """What an audit would do.

    Attributes:
        target: as the document would show it; `load_target` gives the target itself.
        validity: whether an audit could be trusted.
        cells: the plan; each with the reason if it cannot run.
        jobs: worker processes that would carry it out; 1 for a live model.
    """

    target: TargetRow
    validity: tuple[ValidityRow, ...]
    cells: tuple[PlannedCell, ...]
    jobs: int = 1

    @property
    def groups(self) -> int:
        """How many groups the cells that would run are in; those of one share what is trained on the way."""
        from auditor.runner.executor import group_of

        return len({group_of(cell) for cell in self.cells if not cell.skip})

    @property
    def failed(self) -> tuple[str, ...]:
        """Ids of integrity rows that failed: with any, no result can be trusted."""
        return tuple(row.id for row in self.validity if row.kind == "integrity" and row.status == "fail")


def check(
    model: nn.Module | Target | Place,
    data: Any = None,
    *,
    split: str | Mapping[str, Any] | None = None,
    claimed_accuracy: float | None = None,
    reference: Place | None = None,
    call: Mapping[str, str | int] | None = None,
    adapter: Callable[..., Any] | None = None,
    transform: Literal["none", "row-normalize"] | None = "none",
    build: Callable[[], nn.Module] | None = None,
    recipe: Mapping[str, Any] | None = None,
    name: str | None = None,
    only: Words = None,
    skip: Words = None,
    family: Words = None,
    profile: str | None = None,
    seeds: str | Iterable[int] | None = None,
    training_seeds: int | None = None,
    threads: int | None = None,
    device: str | None = None,
    data_root: Place | None = None,
    jobs: int | str | None = None,
    trust_pickle: bool | None = False,
) -> Check:
    """Loads a model, checks it and plans its audit; no attack is run. What `auditor check` calls.

    Arguments and errors are those of `audit`.
    """
    options = _options(only, skip, family, profile, seeds, data_root, threads, device) | {
        "training_seeds": training_seeds,
        "jobs": None if jobs is None else str(jobs),
    }
    session = _session(model, options)
    where = session.devices()[0]
    live = _live(claimed_accuracy, reference, call, adapter, transform, build, recipe, name)
    if isinstance(model, str | os.PathLike):
        job = session.job(**_of_path(data, split, live, trust_pickle=trust_pickle))
        with stoppable(), closing(session.workers(job, jobs=1)) as workers:
            found = workers.describe()
        return Check(found.target, found.validity, found.cells, session.jobs())
    from auditor.runner.undisturbed import undisturbed

    with undisturbed(session.resolved["threads"], where):
        target = _target(session, model, data, split, live, trust_pickle=trust_pickle).on(where)
        found = session.bench(target).describe()
        return Check(found.target, found.validity, found.cells)


def load_target(
    model: nn.Module | Target | Place,
    data: Any = None,
    *,
    split: str | Mapping[str, Any] | None = None,
    claimed_accuracy: float | None = None,
    reference: Place | None = None,
    call: Mapping[str, str | int] | None = None,
    adapter: Callable[..., Any] | None = None,
    transform: Literal["none", "row-normalize"] | None = "none",
    build: Callable[[], nn.Module] | None = None,
    recipe: Mapping[str, Any] | None = None,
    name: str | None = None,
    threads: int | None = None,
    data_root: Place | None = None,
    trust_pickle: bool | None = False,
) -> Target:
    """The Target that `audit` makes of these arguments; errors are those of `audit`.

    It can be audited again and again: `audit(load_target("release"), only="graphmi")`. The config file beside a path
    belongs to the path: a Target brings no options along.
    """
    from auditor.runner.undisturbed import undisturbed

    session = _session(model, _options(data_root=data_root, threads=threads))
    with undisturbed(session.resolved["threads"]):
        live = _live(claimed_accuracy, reference, call, adapter, transform, build, recipe, name)
        return _target(session, model, data, split, live, trust_pickle=trust_pickle)


def _session(model: object, given: Mapping[str, Any]) -> Session:
    return Session.open(Path(model), given) if isinstance(model, str | os.PathLike) else Session.without_target(given)


def _target(
    session: Session,
    model: nn.Module | Target | Place,
    data: Any,
    split: str | Mapping[str, Any] | None,
    live: Mapping[str, Any],
    *,
    trust_pickle: bool | None,
) -> Target:
    """The target, of whichever form; an argument that this form does not know is refused, never dropped."""
    from torch import nn

    from auditor.data.sources import resolve_root
    from auditor.targets.config import parse_target_file
    from auditor.targets.live import live_target
    from auditor.targets.target import Target

    given = [name for name, value in live.items() if value is not None]
    if isinstance(model, nn.Module):
        if trust_pickle:
            raise UsageError("trust_pickle is about a model file; the model is here already. Leave it out.")
        if live["recipe"] is not None and live["build"] is None:
            raise UsageError("recipe came without build; a twin needs a fresh model. Give build=lambda: Model(…).")
        masks = None if split is None or isinstance(split, str) else split
        tables = {
            "target": {
                "name": live["name"] or type(model).__name__,
                "claimed_accuracy": live["claimed_accuracy"],
                "reference": live["reference"],
                "train": live["recipe"],
            },
            "call": live["call"] or {},
            "data": {"split": split if isinstance(split, str) else None, "transform": live["transform"] or "none"},
        }
        return live_target(
            model,
            data,
            parse_target_file(tables, where="audit"),
            masks=masks,
            build=live["build"],
            adapter=live["adapter"],
            data_root=resolve_root(session.resolved["data_root"] or None),
            notify=LOG.warning,
        )
    if isinstance(model, Target):
        given += [name for name, value in (("data", data), ("split", split)) if value is not None]
        if given or trust_pickle:
            raise UsageError(
                f"{', '.join(given) or 'trust_pickle'} came with a Target, which has its own. Leave it out."
            )
        return model
    if not isinstance(model, str | os.PathLike):
        raise UsageError(f"{type(model).__name__} is no model; expected an nn.Module, a Target, or a path.")
    return session.load_target(**_of_path(data, split, live, trust_pickle=trust_pickle))


def _refuse_limits(jobs: object, cell_timeout: float | None, max_memory: float | None) -> None:
    """Raises UsageError for what only a process of its own can be held to."""
    asked = {"jobs": jobs not in (None, 1, "auto"), "cell_timeout": cell_timeout, "max_memory": max_memory}
    if given := [name for name, value in asked.items() if value]:
        raise UsageError(
            f"{', '.join(given)} came with a live model, which runs in this process and cannot be ended there. "
            "save_target writes a folder; audit that."
        )


def _of_path(
    data: Any, split: str | Mapping[str, Any] | None, live: Mapping[str, Any], *, trust_pickle: bool | None
) -> dict[str, Any]:
    """What may be said of a path, as `Session.job` takes it; anything else is refused, never dropped."""
    if given := [name for name, value in live.items() if value is not None]:
        raise UsageError(f"{', '.join(given)} came with a path; its target.toml says that. Write it there.")
    if data is not None and not isinstance(data, str | os.PathLike):
        raise UsageError(f"{type(data).__name__} came with a path; expected a data set's name or path.")
    if split is not None and not isinstance(split, str):
        raise UsageError('masks came with a path; save them and give split = "file:split.npz".')
    return {"data": None if data is None else os.fspath(data), "split": split, "trust_pickle": bool(trust_pickle)}


def _live(
    claimed_accuracy: float | None,
    reference: Place | None,
    call: Mapping[str, str | int] | None,
    adapter: Callable[..., Any] | None,
    transform: str | None,
    build: Callable[[], nn.Module] | None,
    recipe: Mapping[str, Any] | None,
    name: str | None,
) -> dict[str, Any]:
    """What may be said of a module only; None where nothing was said."""
    return {
        "claimed_accuracy": None if claimed_accuracy is None else float(claimed_accuracy),
        "reference": None if reference is None else os.path.abspath(reference),
        "call": None if call is None else dict(call),
        "adapter": adapter,
        "transform": None if transform == "none" else transform,
        "build": build,
        "recipe": None if recipe is None else dict(recipe),
        "name": name,
    }


def _options(
    only: Words = None,
    skip: Words = None,
    family: Words = None,
    profile: str | None = None,
    seeds: str | Iterable[int] | None = None,
    data_root: Place | None = None,
    threads: int | None = None,
    device: str | None = None,
) -> dict[str, Any]:
    """Options of a run as the command line writes them."""
    return {
        "only": _text(only),
        "skip": _text(skip),
        "family": _text(family),
        "profile": profile,
        "seeds": _text(seeds),
        "data_root": None if data_root is None else os.fspath(data_root),
        "threads": threads,
        "device": device,
    }


def _text(words: Any) -> Any:
    """Several words as one text with commas; what is none of both stays as it is, for the options to refuse."""
    return ",".join(map(str, words)) if isinstance(words, Iterable) and not isinstance(words, str) else words
