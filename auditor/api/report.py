"""Report: an audit as a value. It reads the document; nothing is measured here. Imports no torch."""

from __future__ import annotations

import datetime
import html
import io
import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from auditor import registry
from auditor.api.files import check_names, prepare_folder, read_file, write_file
from auditor.document import NONE, Audit, CellRow, Estimate, Result, ValidityRow, Verdict, from_bytes, naming
from auditor.document.codes import Interrupted
from auditor.errors import ConfigError, ProbeNotRun, VerdictError

if TYPE_CHECKING:
    import pandas

    from auditor.policy import Policy
    from auditor.policy.baseline import Baseline
    from auditor.policy.diff import Diff

MAX_HTML_BYTES = 60_000


class Interval(NamedTuple):
    """Ends of a 95 % interval; None where an end is open."""

    lo: float | None
    hi: float | None


@dataclass(frozen=True, slots=True)
class Number:
    """One number of a report.

    Attributes:
        result: the record of the document that it is read from: per seed, facts, judgement.
    """

    result: Result

    @property
    def value(self) -> float | None:
        """The number itself, in `result.unit`; None where it is not defined."""
        return self.result.estimate.value

    @property
    def ci(self) -> Interval:
        """95 % interval of the value."""
        return Interval(self.result.estimate.lo, self.result.estimate.hi)

    @property
    def control(self) -> Estimate | None:
        """What the strongest control reaches, with its interval."""
        control = self.result.control
        return None if control is None else control.estimate

    @property
    def excess(self) -> Estimate | None:
        """Value beyond the control, paired, with its interval; positive = worse for the model's owner."""
        return self.result.excess


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Report:
    """The answer of an audit, frozen.

    Attributes:
        document: the whole audit document, as `audit.json` holds it.
    """

    document: Audit

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Report:
        """The report in an `audit.json`, or in the folder that holds one.

        Raises:
            UsageError: no such file, or not a document of this version.
            DocumentError: it does not agree with itself.
        """
        place = Path(path)
        return cls(from_bytes(read_file(place / "audit.json" if os.path.isdir(place) else place)))

    @property
    def verdict(self) -> Verdict:
        """`status` (PASSED, FAILED or INCOMPLETE), `passed`, `exit_code`, and the codes that say why."""
        return self.document.verdict

    @property
    def interrupted(self) -> bool:
        """Whether the run was stopped before its end, by its user or the system."""
        return any(isinstance(code, Interrupted) for code in self.verdict.codes)

    @property
    def findings(self) -> tuple[Result, ...]:
        """The results that the policy judges, each with its judgement."""
        return tuple(self.document.judged)

    @property
    def validity(self) -> tuple[ValidityRow, ...]:
        """The checks of the target: whether the audit can be trusted."""
        return self.document.validity

    @property
    def cells(self) -> tuple[CellRow, ...]:
        """One row per (probe, seed): how it ended, and why."""
        return self.document.cells

    def __getitem__(self, probe: str) -> Number:
        """The number of a probe that stands in summaries, of the target as it is.

        Args:
            probe: its id, or `id:key=value,…` as it was asked for.

        Raises:
            ProbeNotRun: it was not asked for, was skipped or broke off; the message says which.
        """
        asked = tuple(dict.fromkeys(cell.probe for cell in self.cells))
        specs = [spec for spec in asked if spec == probe] or [s for s in asked if registry.parse_spec(s)[0] == probe]
        if len(specs) != 1:
            what = "was not asked for" if not specs else "was asked for with several parameters; name one of them"
            raise ProbeNotRun(f"{probe} {what}. Probes of this audit: {', '.join(asked) or 'none'}.")
        head = registry.find_probe(registry.parse_spec(specs[0])[0]).headline
        found = [
            result
            for result in self.document.results
            if (result.probe, result.arm, result.metric) == (specs[0], NONE, head.metric)
            and (result.judged if head.subset is None else result.subset == head.subset)
        ]
        if not found:
            reasons = dict.fromkeys(f"{c.status}: {c.reason}" for c in self.cells if c.probe == specs[0] and c.reason)
            raise ProbeNotRun(f"{probe} gave no number ({'; '.join(reasons) or f'{head.metric} was not measured'}).")
        return Number(max(found, key=_badness))

    def summary(self) -> str:
        """The report as ASCII lines, one fact each: what `auditor run --plain` prints."""
        text: str = registry.find("reports", "terminal").load()().render(self.document, plain=True)
        return text

    def to_dict(self) -> dict[str, Any]:
        """The document as plain values, the same as in `audit.json`."""
        return self.document.model_dump(mode="json")

    def to_dataframe(self) -> pandas.DataFrame:
        """One row per number and seed, the columns of `audit.csv`.

        Raises:
            ConfigError: pandas is not installed.
        """
        try:
            import pandas
        except ImportError:
            raise ConfigError("to_dataframe needs pandas, which is not installed. Run: pip install pandas") from None
        return pandas.read_csv(io.StringIO(registry.find("reports", "csv").load()().render(self.document)))

    def save(self, folder: str | PathLike[str], formats: str | Iterable[str] | None = ("json",)) -> tuple[Path, ...]:
        """Writes `audit.json` and the reports named, and returns their paths.

        Args:
            folder: made if missing.
            formats: report ids (`auditor list reports`); `json` is always written, and alone for None.

        Raises:
            ConfigError: unknown format.
            UsageError: the folder cannot be written, or a file of another kind lies at the place of one of these.
        """
        out, asked = Path(folder), file_formats(_listed(formats))
        files = files_of(self.document, asked)
        prepare_folder(out)
        check_names(out, openings_of(asked))
        for name, raw in files.items():
            write_file(out / name, raw)
        return tuple(out / name for name in files)

    def naming(self, most: int) -> Report:
        """The same audit with at most `most` edges and training items in each list of the most exposed; 0 for none.

        Raises:
            ConfigError: below 0.
        """
        if most < 0:
            raise ConfigError(f"most is {most}; expected 0, which names nobody, or a whole number above it.")
        return Report(naming(self.document, most))

    def judged(
        self,
        policy: str | Policy | None = "standard",
        *,
        baseline: Baseline | None = None,
        as_of: datetime.date | None = None,
        exit_zero: bool | None = False,
    ) -> Report:
        """The same numbers judged by another policy; nothing is measured again.

        Args:
            policy: `lenient`, `standard` (also for None), `strict`, or a Policy of your own.
            baseline: accepted results.
            as_of: the day (UTC) on which acceptances are checked; today by default.
            exit_zero: a failed gate has exit code 0.

        Raises:
            ConfigError: unknown policy.
        """
        from auditor.policy import Policy, gate

        rules = policy if isinstance(policy, Policy) else Policy.named(str(policy or "standard"))
        day = as_of or datetime.datetime.now(datetime.UTC).date()
        return Report(gate(self.document, rules, baseline, as_of=day, exit_zero=bool(exit_zero)))

    def gate(
        self,
        policy: str | Policy | None = "standard",
        *,
        baseline: Baseline | None = None,
        as_of: datetime.date | None = None,
    ) -> Verdict:
        """The verdict by another policy; see `judged`."""
        return self.judged(policy, baseline=baseline, as_of=as_of).verdict

    def diff(self, earlier: Report) -> Diff:
        """What changed since an earlier report; a change counts only if the intervals say so."""
        from auditor.policy.diff import diff

        return diff(earlier.document, self.document)

    def raise_for_verdict(self) -> None:
        """Raises VerdictError unless the verdict is PASSED; its `exit_code` is 1 (failed) or 3 (no verdict)."""
        verdict = self.verdict
        if verdict.passed:
            return
        failing = [r for r in self.findings if r.judgement is not None and r.judgement.status == "fail"]
        said = ", ".join(dict.fromkeys(f"{r.probe} {r.metric}" for r in failing))
        raise VerdictError(
            f"the audit of {self.document.target.name} is {verdict.status} under the policy {verdict.policy}"
            f"{f': {said}' if said else ''}. report.summary() says why.",
            verdict.exit_code or (1 if verdict.status == "FAILED" else 3),
        )

    def __bool__(self) -> Literal[True]:
        raise TypeError("a report is neither true nor false: ask report.verdict.passed")

    def __repr__(self) -> str:
        n = len(self.findings)
        return f"<Report on {self.document.target.name}: {self.verdict.status}, {n} finding{'' if n == 1 else 's'}>"

    def _repr_html_(self) -> str:
        """The summary for a notebook: escaped text, no script, at most 60 kB."""
        lines, size = [], len(_PRE.format("")) + 8
        for line in html.escape(self.summary()).splitlines():
            size += len(line.encode()) + 1
            if size > MAX_HTML_BYTES:
                lines.append("…")
                break
            lines.append(line)
        return _PRE.format("\n".join(lines))


_PRE = '<pre style="line-height:1.25">{}</pre>'


def file_formats(names: Iterable[str]) -> list[str]:
    """Report ids to write beside `audit.json`, each once.

    Raises:
        ConfigError: unknown format, or `terminal`, which is printed.
    """
    asked = [name.strip() for name in names if name.strip()]
    for name in asked:
        if name == "terminal":
            raise ConfigError("terminal is what is printed, not a file format; leave it out of --format.")
        registry.find("reports", name)
    return [name for name in dict.fromkeys(asked) if name != "json"]


def openings_of(formats: Iterable[str]) -> dict[str, str]:
    """By the name of each of those files, `audit.json` first, how one of its kind begins."""
    reports = [registry.find("reports", name).load()() for name in ("json", *formats)]
    return {report.filename: report.opening for report in reports}


def openings_of_files(names: Collection[str]) -> dict[str, str]:
    """The same of reports that have these names; no report is loaded where no file could be one."""
    if not any("/" not in name for name in names):
        return {}
    reports = [entry.load() for entry in registry.entries("reports").values()]
    return {report.filename: report.opening for report in reports if report.filename in names}


def files_of(document: Audit, formats: Iterable[str]) -> dict[str, bytes]:
    """`audit.json` and the reports of these ids, by the name of their file."""
    files: dict[str, bytes] = {}
    for name in ("json", *formats):
        report = registry.find("reports", name).load()()
        text = report.render(document)
        files[report.filename] = text.encode() if isinstance(text, str) else text
    return files


def _listed(names: str | Iterable[str] | None) -> Iterable[str]:
    return names.split(",") if isinstance(names, str) else names or ()


def _badness(result: Result) -> float:
    excess = result.excess
    return float("-inf") if excess is None or excess.value is None else excess.value
