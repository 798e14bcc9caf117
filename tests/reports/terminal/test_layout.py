"""Lines of a screen: a command that is broken stays one command."""

from __future__ import annotations

import shlex

from reports.terminal.layout import pasteable


def test_a_command_is_broken_so_that_a_shell_reads_it_as_one() -> None:
    command = "auditor defend out/model --defense coarse-outputs:digits=1 -o out/model-coarse-outputs-digits-1"
    broken = pasteable(command, 50)
    assert max(map(len, broken.splitlines())) <= 50
    assert shlex.split(broken.replace("\\\n", " ")) == shlex.split(command)
