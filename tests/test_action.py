"""`action.yml`: its shell parts, taken out and run with hostile inputs and a fake `auditor`."""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")

ROOT = Path(__file__).parents[1]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
STEPS = {step["name"]: step for step in ACTION["runs"]["steps"]}
HOSTILE = (
    "$(touch pwned)",
    "`touch pwned`",
    "a'; touch pwned; '",
    'a"; touch pwned; "',
    "x && touch pwned",
    "*",
    "--trust-pickle",
    "-h",
    "a\nverdict=PASSED",
    "${IFS}touch${IFS}pwned",
)
FAKE = r"""#!/bin/bash
if [ "$1" = report ]; then echo "## summary of $2"; exit; fi
printf '%s\0' "$@" > "$FAKE_LOG"
for word in "$@"; do case "$word" in --out=*) folder=${word#--out=} ;; esac; done
if [ -n "$FAKE_DOCUMENT" ]; then
    printf '%s' "$FAKE_DOCUMENT" > "$folder/audit.json"
    echo '{}' > "$folder/audit.sarif"
fi
exit "$FAKE_CODE"
"""


@dataclass(frozen=True)
class Ran:
    code: int
    outputs: dict[str, str]
    summary: str
    arguments: list[str]
    text: str


def inputs_of(step: str) -> dict[str, str]:
    """The step's environment with the inputs' defaults filled in."""
    names = {k: re.fullmatch(r"\$\{\{ inputs\.([a-z-]+) \}\}", v) for k, v in STEPS[step]["env"].items()}
    return {key: ACTION["inputs"][match[1]].get("default", "") for key, match in names.items() if match}


def run_step(step: str, folder: Path, *, code: int = 0, verdict: str = "PASSED", **inputs: str) -> Ran:
    """Runs a step's script as GitHub does: `bash -eo pipefail` on a file, outputs and summary in files."""
    tools = folder / "tools"
    tools.mkdir(parents=True)
    fake = tools / "auditor"
    fake.write_text(FAKE)
    fake.chmod(0o755)
    script = folder / "script.sh"
    script.write_text(STEPS[step]["run"])
    places = {name: folder / name.lower() for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY", "GITHUB_PATH")}
    log, work, temp = folder / "log", folder / "work", folder / "temp"
    for path in (*places.values(), log):
        path.touch()
    work.mkdir()
    (work / "bystander").touch()  # what an unquoted * would become
    temp.mkdir()
    document = json.dumps({"verdict": {"status": verdict}}) if verdict else ""
    env = {
        "PATH": f"{tools}:{os.environ['PATH']}", "RUNNER_TEMP": str(temp), "GITHUB_ACTION_PATH": str(ROOT),
        "FAKE_LOG": str(log), "FAKE_CODE": str(code), "FAKE_DOCUMENT": document,
        **{name: str(path) for name, path in places.items()}, **inputs_of(step), **inputs,
    }  # fmt: skip
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", script], cwd=work, env=env, capture_output=True, text=True
    )
    assert [path.name for path in work.iterdir()] == ["bystander"], "an input ran as a command"
    lines = places["GITHUB_OUTPUT"].read_text().splitlines()
    outputs = dict(line.split("=", 1) for line in lines)
    assert len(outputs) == len(lines), f"an output was written twice: {lines}"
    arguments = log.read_text().split("\0")[:-1]
    return Ran(
        done.returncode, outputs, places["GITHUB_STEP_SUMMARY"].read_text(), arguments, done.stdout + done.stderr
    )


def test_inputs_reach_scripts_only_through_the_environment() -> None:
    for step in STEPS.values():
        assert "${{" not in step["run"]
        assert step["shell"] == "bash"
    passed = [value for step in STEPS.values() for name, value in step["env"].items() if name.startswith("INPUT_")]
    assert {f"${{{{ inputs.{name} }}}}" for name in ACTION["inputs"]} == set(passed)


def test_nobody_is_named_where_a_ci_system_keeps_the_reports() -> None:
    """The environment wins over a config file, and an option that the workflow gives wins over both."""
    assert STEPS["Audit"]["env"]["AUDITOR_EXPOSED"] == "0"
    (job,) = (job for job in yaml.safe_load((ROOT / "docs/examples/gitlab-ci.yml").read_text("utf-8")).values())
    assert job["variables"]["AUDITOR_EXPOSED"] == "0"


@pytest.mark.parametrize("path", ["action.yml", "docs/examples/github-workflow.yml"])
def test_other_actions_are_pinned_by_commit(path: str) -> None:
    used = re.findall(r"uses: (\S+)", (ROOT / path).read_text(encoding="utf-8"))
    foreign = [name for name in used if not name.startswith("OWNER/gnn-auditor@")]
    assert all(re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", name) for name in foreign)
    assert (path == "action.yml") == (used == [])


@pytest.mark.parametrize(("code", "verdict"), [(0, "PASSED"), (1, "FAILED"), (3, "INCOMPLETE"), (0, "FAILED")])
def test_outputs_are_there_whatever_the_gate_says(tmp_path: Path, code: int, verdict: str) -> None:
    ran = run_step("Audit", tmp_path, code=code, verdict=verdict, INPUT_CONFIG="model/audit.toml")
    assert ran.code == code, ran.text
    assert ran.outputs["verdict"] == verdict
    assert ran.outputs["exit-code"] == str(code)
    folder = Path(ran.outputs["report-dir"])
    assert (folder / "audit.json").is_file()
    assert Path(ran.outputs["sarif"]) == folder / "audit.sarif"
    assert set(ran.outputs) == set(ACTION["outputs"])
    assert ran.summary.startswith("## summary of")


@pytest.mark.parametrize("code", [2, 3, 4, 130])
def test_a_run_without_an_audit_has_outputs_too(tmp_path: Path, code: int) -> None:
    ran = run_step("Audit", tmp_path, code=code, verdict="", INPUT_CONFIG="missing.toml")
    assert ran.code == code
    assert (ran.outputs["verdict"], ran.outputs["exit-code"], ran.outputs["sarif"]) == ("NONE", str(code), "")
    assert f"exit code {code}" in ran.summary


def test_only_what_was_given_becomes_an_option(tmp_path: Path) -> None:
    ran = run_step("Audit", tmp_path, INPUT_CONFIG="t", INPUT_FORMATS="", INPUT_ARGS="")
    assert ran.arguments == ["run", f"--out={ran.outputs['report-dir']}", "--", "t"]


def test_args_are_words_and_cannot_move_the_report(tmp_path: Path) -> None:
    given = "  --only strata\n--policy release --out=elsewhere -- "
    ran = run_step("Audit", tmp_path, INPUT_CONFIG="t", INPUT_FORMATS="sarif", INPUT_FAIL_ON="low", INPUT_ARGS=given)
    assert ran.arguments == [
        "run", "--only", "strata", "--policy", "release", "--out=elsewhere", "--", "--fail-on=low", "--format=sarif",
        f"--out={ran.outputs['report-dir']}", "--", "t",
    ]  # fmt: skip


@pytest.mark.parametrize("value", HOSTILE)
def test_a_hostile_input_stays_one_value(tmp_path: Path, value: str) -> None:
    names = ("CONFIG", "PROFILE", "FAIL_ON", "BASELINE", "FORMATS")
    ran = run_step("Audit", tmp_path, **{f"INPUT_{name}": value for name in names})
    assert ran.code == 0, ran.text
    assert ran.arguments == [
        "run", f"--profile={value}", f"--fail-on={value}", f"--baseline={value}", f"--format={value}",
        f"--out={ran.outputs['report-dir']}", "--", value,
    ]  # fmt: skip


@pytest.mark.parametrize("value", HOSTILE)
def test_hostile_args_are_split_and_nothing_more(tmp_path: Path, value: str) -> None:
    ran = run_step("Audit", tmp_path, INPUT_CONFIG="t", INPUT_FORMATS="", INPUT_ARGS=value)
    assert ran.arguments == ["run", *value.split(), f"--out={ran.outputs['report-dir']}", "--", "t"]
    assert ran.outputs["verdict"] == "PASSED"


def test_a_hostile_document_cannot_write_outputs(tmp_path: Path) -> None:
    ran = run_step("Audit", tmp_path, code=1, verdict="PASSED\nexit-code=0", INPUT_CONFIG="t")
    assert ran.code == 1
    assert (ran.outputs["verdict"], ran.outputs["exit-code"]) == ("NONE", "1")


@pytest.mark.parametrize("value", [*(v for v in HOSTILE), "0.1.0 --index-url=x", "@ https://x", "=0"])
def test_a_version_is_a_version_or_refused(tmp_path: Path, value: str) -> None:
    ran = run_step("Install auditor", tmp_path, INPUT_VERSION=value)
    assert ran.code == 2
    assert "version" in ran.text
    assert not (tmp_path / "temp" / "auditor-venv").exists()


@pytest.mark.parametrize(("version", "package"), [("", str(ROOT)), ("0.1.0", "gnn-auditor==0.1.0")])
def test_install_takes_the_pinned_version_or_its_own_code(tmp_path: Path, version: str, package: str) -> None:
    script = STEPS["Install auditor"]["run"]
    fake = tmp_path / "bin" / "python3"
    fake.parent.mkdir()
    fake.write_text(
        f'#!/bin/bash\nif [ "$2" = venv ]; then mkdir -p "$3/bin"; cp "$0" "$3/bin/python"; fi\n'
        f'printf "%s\\n" "$*" >> {tmp_path}/log\n'
    )
    fake.chmod(0o755)
    env: dict[str, Any] = {
        "PATH": f"{fake.parent}:{os.environ['PATH']}", "RUNNER_TEMP": str(tmp_path), "GITHUB_PATH": f"{tmp_path}/path",
        "GITHUB_ACTION_PATH": str(ROOT), "INPUT_VERSION": version,
    }  # fmt: skip
    subprocess.run(["bash", "-eo", "pipefail", "-c", script], env=env, check=True)
    installed = (tmp_path / "log").read_text().splitlines()[-1]
    assert installed.startswith("-m pip install")
    assert installed.endswith(f"-c {ROOT}/constraints.txt {package}")
    assert (tmp_path / "path").read_text() == f"{tmp_path}/auditor-venv/bin\n"
