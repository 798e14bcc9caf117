"""Entry point: keeps the user's folder off our imports, turns every ending into the designed exit code."""

from __future__ import annotations

import io
import sys
import tempfile
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from auditor.errors import AuditorError

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer as Buffer


def main() -> None:
    """Runs the command line and exits with its code (0, 1, 2, 3, 4 or 130)."""
    if (out := sys.stdout) is not None:  # None: started with standard output closed
        raw = io.BufferedWriter(_Unread(out.fileno(), "w", closefd=False))
        sys.stdout = io.TextIOWrapper(raw, encoding=out.encoding, errors=out.errors, line_buffering=True)
    sys.exit(run())


class _Unread(io.FileIO):
    """Standard output whose reader may go away (`| head -1`): the exit code stays the verdict."""

    def write(self, data: Buffer, /) -> int:
        """Writes `data`, or drops it when nobody reads any more."""
        try:
            return super().write(data)
        except BrokenPipeError:
            return memoryview(data).nbytes


def run(arguments: list[str] | None = None) -> int:
    """The exit code of one command line; nothing escapes as a traceback."""
    try:
        _keep_user_folder_off_path()
        code = _invoke(arguments)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        _say("interrupted")
        return 130
    except AuditorError as error:
        _say(f"error: {error}")
        return error.exit_code
    except Exception as error:
        with tempfile.NamedTemporaryFile("w", prefix="auditor-", suffix=".log", delete=False) as log:
            traceback.print_exc(file=log)
        _say(f"internal error: {type(error).__name__}: {error}. The traceback is in {log.name}; please report it.")
        return 3


def _invoke(arguments: list[str] | None) -> int:
    from auditor.cli.main import app

    try:
        result = app(args=arguments, standalone_mode=False)
    except Exception as error:
        message = getattr(error, "format_message", None)  # every usage error of the command-line library has one
        if message is None:
            raise
        context = getattr(error, "ctx", None)
        hint = f'\nTry "{context.command_path} --help".' if context is not None else ""
        if text := message():  # empty when a bare command has just shown its help
            _say(f"error: {text}{hint}")
        return 2
    return result if isinstance(result, int) else 0


def _keep_user_folder_off_path() -> None:
    """Drops the current folder from sys.path and checks that `attacks`, `defenses`, `reports` are ours."""
    from auditor import registry

    here = Path.cwd().resolve()
    ours = Path(__file__).resolve().parents[1]
    if here != ours:
        sys.path[:] = [entry for entry in sys.path if entry and Path(entry).resolve() != here]
    else:
        sys.path[:] = [entry for entry in sys.path if entry]
    registry.check_packages()


def _say(text: str) -> None:
    print(text, file=sys.stderr)  # noqa: T201  the last words of a process, before and without Rich


if __name__ == "__main__":
    main()
