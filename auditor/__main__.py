"""Entry point: keeps the user's folder off our imports, turns every ending into the designed exit code."""

from __future__ import annotations

import os
import sys

try:
    import logging
    import tempfile
    import traceback
    from contextlib import suppress
    from pathlib import Path
    from typing import NoReturn

    from auditor.cli.screen import leave, open_screens
    from auditor.errors import AuditorError
    from auditor.printable import error_text, neutral, neutral_lines
    from auditor.stopping import exit_code_of, stop_at_once
except KeyboardInterrupt:  # before there is anything that could tell it
    os._exit(130)

NO_VERDICT = 3


def main() -> NoReturn:
    """Runs the command line and ends the process with its code (0, 1, 2, 3, 4 or 130), whatever still runs in it."""
    stop_at_once()
    logging.getLogger("auditor").propagate = False  # a library that sets up logging would say each of our notes again
    screens, code = open_screens(), NO_VERDICT
    try:
        code = run()
    except KeyboardInterrupt as stop:  # a second one, while the first was being told
        code = exit_code_of(stop)
    finally:
        leave(code, screens)


def run(arguments: list[str] | None = None) -> int:
    """The exit code of one command line; nothing escapes, not even what is no `Exception`."""
    try:
        _keep_user_folder_off_path()
        return _invoke(arguments)
    except KeyboardInterrupt as stop:
        _say("interrupted")
        return exit_code_of(stop)
    except AuditorError as error:
        _say(f"error: {error_text(error)}")
        return error.exit_code if error.exit_code in (2, NO_VERDICT, 4) else NO_VERDICT  # ours, or a class of user code
    except SystemExit as error:  # no verb of ours ends this way
        _say(f"error: code that was run here ended the process ({error_text(error, named=True)}); that is no verdict.")
        return NO_VERDICT
    except BaseException as error:
        _say(f"internal error: {error_text(error, named=True)}. {_kept_traceback()}")
        return NO_VERDICT


def _kept_traceback() -> str:
    """Where the traceback of what is being handled lies; a full disk or a hostile exception is no second failure."""
    with suppress(BaseException):
        text = neutral_lines(traceback.format_exc())
        with tempfile.NamedTemporaryFile(
            "w", prefix="auditor-", suffix=".log", delete=False, encoding="utf-8", errors="backslashreplace"
        ) as log:
            log.write(text)
        return f"The traceback is in {log.name}; please report it."
    return "Its traceback could not be kept; please report what was run."


def _invoke(arguments: list[str] | None) -> int:
    import typer

    from auditor.cli.helping import Halt
    from auditor.cli.main import app

    try:
        result = app(args=arguments, standalone_mode=False)
    except Halt as halt:
        raise halt.stop from None
    except typer.Abort:  # a question that was not answered
        raise KeyboardInterrupt from None
    except Exception as error:
        message = getattr(error, "format_message", None)  # every usage error of the command-line library has one
        if message is None:
            raise
        context = getattr(error, "ctx", None)
        hint = f'\nTry "{context.command_path} --help".' if context is not None else ""
        if text := message():  # empty when a bare command has just shown its help
            _say(f"error: {neutral(text)}{hint}")
        return 2
    return result if isinstance(result, int) else 0


def _keep_user_folder_off_path() -> None:
    """Drops the current folder from sys.path and checks that `attacks`, `defenses`, `reports` are ours."""
    from auditor import registry

    sys.path[:] = [entry for entry in sys.path if entry]
    ours = Path(__file__).resolve().parents[1]
    with suppress(OSError):  # the current folder may be gone
        if (here := Path.cwd().resolve()) != ours:
            sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != here]
    registry.check_packages()


def _say(text: str) -> None:
    with suppress(Exception):  # words that cannot be said change no exit code
        print(text, file=sys.stderr)  # noqa: T201  the last words of a process, before and without Rich


if __name__ == "__main__":
    main()
