"""`auditor init`: drafts a target.toml for weights that are there."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from auditor.cli import options


def init(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Weights: safetensors, a state dict or a checkpoint.")],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Folder for target.toml (default: MODEL's).")] = None,
    graph: Annotated[str | None, typer.Option(help="Graph file, or a data set's name.")] = None,
    factory: Annotated[
        str | None, typer.Option(help="What builds the model: file.py:name or package.module:name.")
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="What it was trained on: file:split.npz, masks:0 or unknown.")
    ] = None,
    call: Annotated[list[str] | None, typer.Option(metavar="K=V", help="Parameter of forward = field or none.")] = None,
    output: Annotated[str | None, typer.Option(help="Place or key of the answers in what forward returns.")] = None,
    claimed_accuracy: Annotated[float | None, typer.Option(help="Test accuracy that you know, 0 to 1.")] = None,
    recipe: Annotated[str | None, typer.Option(help="Training: optimizer=adam,lr=0.01,epochs=200.")] = None,
    weights_key: Annotated[str | None, typer.Option(help="Which state dict of a checkpoint.")] = None,
    strip_prefix: Annotated[str | None, typer.Option(help="Prefix of the names of weights to drop.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Ask nothing; run a factory that is a guess.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Write over an existing target.toml.")] = False,
    data_root: options.DataRoot = None,
) -> None:
    """Draft a target.toml: what can be read is written, guesses are marked, open questions asked or left open."""
    from auditor.cli.console import note, stdout
    from auditor.data.sources import resolve_root
    from auditor.targets.draft import Known, draft_target, parse_pairs

    pairs = {key: str(value) for text in call or [] for key, value in parse_pairs(text, "--call").items()}
    known = Known(
        graph=graph,
        factory=factory,
        split=split,
        call=pairs,
        output=output,
        claimed_accuracy=claimed_accuracy,
        recipe=None if recipe is None else parse_pairs(recipe, "--recipe"),
        weights_key=weights_key,
        strip_prefix=strip_prefix,
    )
    folder = model.parent if out is None else out
    draft = draft_target(
        model,
        folder,
        known,
        ask=_ask if sys.stdin.isatty() and not yes else None,
        run_guesses=yes,
        force=force,
        data_root=resolve_root(data_root),
        notify=note,
    )
    if draft.call:
        stdout().print(f"call: {draft.call}", markup=False)
    if draft.unanswered:
        note(f"written: {draft.path}, with open questions: {', '.join(draft.unanswered)}. Answer them in the file.")
    else:
        note(f'written: {draft.path}. Next: "auditor check {folder}".')


def _ask(question: str, flag: str, guess: str) -> str:
    answer: str = typer.prompt(f"{question} ({flag})", default=guess, show_default=bool(guess), err=True)
    return answer.strip()
