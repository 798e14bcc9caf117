"""The terminal report: at most 100 columns, verdict last, words beside colours, nothing read as markup."""

from __future__ import annotations

import io
import re
from collections.abc import Callable

import pytest
from rich.console import Console

from auditor.document import RECIPE, Audit
from auditor.printable import ascii_form
from reports import views
from reports.sentences import verdict
from reports.terminal.report import TerminalReport
from tests.reports import samples
from tests.reports.compared import AUDITS

REPORT = TerminalReport()
OWN = {name: make for name, make in AUDITS.items() if "hostile" not in name}


@pytest.mark.parametrize("verbose", [False, True])
@pytest.mark.parametrize("make", AUDITS.values(), ids=AUDITS)
@pytest.mark.parametrize("width", [60, 80, 100, 300])
def test_no_line_is_wider_than_the_terminal(make: Callable[[], Audit], verbose: bool, width: int) -> None:
    text = REPORT.render(make(), width=width, verbose=verbose)
    assert max(map(len, text.splitlines())) <= min(width, 100)


@pytest.mark.parametrize("make", OWN.values(), ids=OWN)
def test_plain_lines_are_ascii_one_fact_each_and_say_what_the_screen_says(make: Callable[[], Audit]) -> None:
    plain, screen = REPORT.render(make(), width=60, plain=True), REPORT.render(make(), width=100)
    assert plain.isascii()
    assert plain == REPORT.render(make(), width=100, plain=True), "nothing is wrapped"
    assert "" not in plain.splitlines()
    missing = set(re.findall(r"[A-Za-z]{4,}", ascii_form(screen))) - set(re.findall(r"[A-Za-z]{4,}", plain))
    assert not missing


@pytest.mark.parametrize("make", AUDITS.values(), ids=AUDITS)
def test_verdict_is_said_first_and_last(make: Callable[[], Audit]) -> None:
    audit = make()
    lines = REPORT.render(audit, plain=True).splitlines()
    status, _ = verdict.last_line(audit)
    assert lines[-1].startswith(f"{status}  ")
    if audit.comparison is None and not views.is_claim(audit):
        assert f": {status}. " in lines[0]


def test_each_question_has_a_line_and_each_open_or_failing_result_one_more() -> None:
    tags = [line[:6] for line in REPORT.render(samples.realistic(), plain=True).splitlines() if line.startswith("[")]
    assert tags == ["[OVER]", "[kept]", "[seen]", "[open]"]
    assert "[OVER] Privacy" in " ".join(REPORT.render(samples.realistic()).split())


def test_a_step_is_a_command_with_the_path_of_the_target() -> None:
    audit = samples.realistic().model_copy(update={"config_file": "out/my model/target.toml"})
    lines = REPORT.render(audit, plain=True).splitlines()
    target = "'out/my model-coarse-outputs-digits-1'"
    assert f"Do first 1: auditor defend 'out/my model' --defense coarse-outputs:digits=1 -o {target}" in lines
    assert f"Do first 1: auditor run {target}" in lines
    unknown = samples.realistic().model_copy(update={"config_file": ""})
    assert "--defense" not in REPORT.render(unknown, plain=True)


def test_verdict_is_the_last_thing() -> None:
    last = " ".join(REPORT.render(samples.realistic()).rstrip().rpartition("\n\n")[2].split())
    assert last == (
        "FAILED 1 of 12 results over its limit, 1 not settled, 1 accepted. 5 of 8 tests ran, 1 does not apply, "
        "2 broke off. Exit code 1."
    )


@pytest.mark.parametrize("width", [80, 100])
def test_a_range_is_never_broken_inside_a_number(width: int) -> None:
    text = REPORT.render(samples.realistic(), width=width, verbose=True)
    for number in ("33.2 to 37.2 %", "28.4 to 32.4 worse", "0.944 to 0.968"):
        assert number in text


def test_ways_of_asking_one_question_that_end_alike_are_one_line() -> None:
    lines = REPORT.render(samples.asked_often(), plain=True).splitlines()
    privacy = [line for line in lines if line.startswith("[")]
    assert [line[:6] for line in privacy if "Privacy" in line] == ["[OVER]", "[open]"]
    over, unsettled = privacy[:2]
    assert over.endswith("Over the limit, too: 1 more way of asking.")
    assert unsettled.endswith("Not settled, too: 3 more ways of asking.")
    verbose = REPORT.render(samples.asked_often(), verbose=True)
    assert verbose.count("headroom · ") == 4, "the tables have every one"


def test_what_was_not_tested_is_listed_with_its_reason() -> None:
    text = " ".join(REPORT.render(samples.realistic()).split())
    assert "Membership does not apply: needs REFERENCES: none were given" in text
    assert "Features-evasion broke off: RuntimeError: mat1 and mat2 do not fit" in text
    assert "Injection broke off: no result after 600 s" in text
    assert "Backdoors and inference of group properties." in text


def test_status_is_a_word_and_colour_only_where_asked() -> None:
    assert "\x1b[" not in REPORT.render(samples.realistic())
    colored = REPORT.render(samples.realistic(), color=True)
    assert "\x1b[" in colored
    assert re.sub(r"\x1b\[[0-9;]*m", "", colored).split() == REPORT.render(samples.realistic()).split()


def test_plain_has_no_boxes() -> None:
    assert "─" in REPORT.render(samples.realistic(), verbose=True)
    assert not set("─│━┃╭╮╰╯") & set(REPORT.render(samples.realistic(), plain=True, verbose=True))


def test_markup_in_names_stays_text() -> None:
    assert "[bold]markup[/bold]" in REPORT.render(samples.hostile()).replace("\n", " ")


def test_print_writes_what_render_returns() -> None:
    console = Console(file=io.StringIO(), width=100, color_system=None, _environ={})
    REPORT.print(samples.realistic(), console)
    written = console.file.getvalue()  # type: ignore[attr-defined]
    assert "\n".join(line.rstrip() for line in written.splitlines()) + "\n" == REPORT.render(samples.realistic())


def test_an_empty_audit_says_that_nothing_was_asked() -> None:
    text = REPORT.render(samples.empty())
    assert text.count("Not asked: no test of this family was in this run.") == 3
    assert "3 never started or finished" in text
    assert "This is not a pass. Exit code 3." in " ".join(text.split())


def test_a_narrow_terminal_shows_every_number_of_the_table() -> None:
    narrow = " ".join(REPORT.render(samples.realistic(), width=60, verbose=True).split())
    for number in ("35.2 %, 33.2 to 37.2 %", "excess 30.4 worse, 28.4 to 32.4 worse", "over the limit, very large"):
        assert number in narrow


def test_several_seeds_say_how_they_were_joined() -> None:
    text = " ".join(REPORT.render(samples.several_seeds(), verbose=True).split())
    assert "mean over 3 seeds" in text
    assert "defended by gap:epsilon=4: edge level (flip one pair) · ε = 4.00" in text


def test_what_verifies_is_held_to_the_limits_of_the_audit() -> None:
    audit = samples.realistic()
    strict = audit.model_copy(update={"verdict": audit.verdict.model_copy(update={"policy": "strict"})})
    verified = [line for line in REPORT.render(strict, plain=True).splitlines() if "auditor run" in line]
    assert verified
    assert all("--policy strict" in line for line in verified)


def test_a_defended_target_is_not_told_to_be_defended() -> None:
    assert "--defense" not in REPORT.render(samples.several_seeds(), plain=True)


def test_a_failing_new_training_is_the_headline() -> None:
    audit = samples.realistic()
    failing = next(result for result in audit.results if result.has_status("fail"))
    moved = failing.model_copy(update={"arm": RECIPE})
    results = tuple(moved if result is failing else result for result in audit.results)
    text = REPORT.render(audit.model_copy(update={"results": results}), plain=True)
    assert "Not ready while links are confidential: of models that its recipe trained anew, " in text
    assert "Nothing over the limits" not in text
