"""Drafts a `target.toml` from a file of weights: what can be read is written, what cannot is asked or left open.

Nothing that lies in the weights or the graph is executed, and no code but the factory that the user named.
"""

from __future__ import annotations

import ast
import os
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomli_w

from auditor.data.graph import UNKNOWN
from auditor.data.inert import Archive, UnreadableError
from auditor.data.sources import LoadedData, load_data
from auditor.data.splits import DRAWN
from auditor.data.tensors import read_safetensors
from auditor.errors import LoadError, UsageError, nearest
from auditor.reading.files import MAX_TEXT, bytes_of, reading
from auditor.targets.config import FILE_NAME, QUESTIONS, TargetFile, parse_target_file
from auditor.targets.load import accuracy_when_saved, assemble, load_model
from auditor.targets.loaded import Request
from auditor.targets.resolve import UndecidedError, call_line
from auditor.targets.target import Target
from auditor.targets.weights import choices, kind_of, read_bytes, refusal, state_dicts

BUILDERS = ("build", "build_model", "make_model", "create_model", "get_model")
WIDTHS = frozenset(
    ("in_channels", "in_dim", "in_feats", "in_features", "input_dim", "num_features", "num_node_features", "nfeat")
)
CLASSES = frozenset(("out_channels", "out_dim", "output_dim", "num_classes", "n_classes", "nclass"))

Ask = Callable[[str, str, str], str]
"""(question, flag that answers it, guess or "") -> answer; "" leaves it open."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A `target.toml` that was written.

    Attributes:
        path: the file.
        unanswered: questions that keep it from being run, words of `QUESTIONS`.
        call: how forward is called and what supports it; empty where nothing was run.
        accuracy: what was measured, where something was.
    """

    path: Path
    unanswered: tuple[str, ...]
    call: str = ""
    accuracy: float | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """What the user said, as the flags of `auditor init`; None for what is to be read, guessed or asked."""

    graph: str | None = None
    factory: str | None = None
    split: str | None = None
    call: Mapping[str, str] = field(default_factory=dict)
    output: str | None = None
    claimed_accuracy: float | None = None
    recipe: Mapping[str, Any] | None = None
    weights_key: str | None = None
    strip_prefix: str | None = None


def draft_target(
    model: Path,
    out: Path,
    known: Known,
    *,
    ask: Ask | None = None,
    run_guesses: bool = False,
    force: bool = False,
    data_root: Path | None = None,
    notify: Callable[[str], None] = lambda _line: None,
) -> Draft:
    """Writes `out/target.toml` for the weights in `model`.

    Args:
        model: safetensors or a checkpoint that holds a state dict.
        out: folder of the target.
        known: what the user said.
        ask: puts a question to the user; None where nobody can answer, and open questions stay in the file.
        run_guesses: whether a factory that was only guessed may be run.
        force: writes over an existing file.
        data_root: where named data sets lie.
        notify: gets one line for everything worth knowing.

    Raises:
        UsageError: the file exists, or a flag, the graph or the split is wrong. Nothing is written.
        TargetError: the weights are refused, or do not fit the factory. Nothing is written.
    """
    path = out / FILE_NAME
    if path.exists() and not force:
        raise UsageError(f"{path} exists. Give --force to write over it, or another folder with -o.")
    draft = _Drafting(model, out, known, ask or (lambda *_: ""), data_root, notify)
    with _folder(out):
        draft.read()
        trial = draft.tried(run_guesses=run_guesses or ask is not None)
        text = draft.text()
        _parsed(text)
        partial = path.with_name(path.name + ".part")
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    return Draft(path, tuple(draft.open), *trial)


@contextmanager
def _folder(out: Path) -> Iterator[None]:
    """The folder exists inside, since paths are relative to it; when something fails, none is left behind."""
    made = [folder for folder in (out, *out.parents) if not folder.exists()]
    try:
        out.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException as error:
        for folder in made:
            if folder.is_dir() and not any(folder.iterdir()):
                folder.rmdir()
        if isinstance(error, OSError):
            raise UsageError(f"cannot write to {out}: {error.strerror}. Choose another folder with -o.") from None
        raise


def _parsed(text: str) -> TargetFile:
    return parse_target_file(tomllib.loads(text), where=FILE_NAME)


class _Drafting:
    """One file in the making: lines by table, and the questions that are open."""

    def __init__(
        self,
        model: Path,
        out: Path,
        known: Known,
        ask: Ask,
        data_root: Path | None,
        notify: Callable[[str], None],
    ) -> None:
        self.model, self.out, self.known, self.ask = model, out, known, ask
        self.data_root, self.notify = data_root, notify
        self.tables: dict[str, list[str]] = {
            "target": [],
            "target.init": [],
            "target.train": [],
            "data": [],
            "call": [],
        }
        self.open: list[str] = []
        self.data: LoadedData | None = None
        self.hparams: Mapping[str, Any] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.guessed_factory = False

    def put(self, table: str, key: str, value: Any, why: str = "", alternatives: str = "none known") -> None:
        """One line; with `why`, a guess."""
        line = tomli_w.dumps({key: value}).strip()
        self.tables[table].append(line + (f"  # GUESS ({_bare(why)}); alternatives: {_bare(alternatives)}" * bool(why)))

    def leave(self, question: str, table: str, *remarks: str) -> None:
        """A question without an answer: its line as a comment, and its word in `unanswered`."""
        self.open.append(question)
        self.tables[table] += [f"# {_bare(remark)}" for remark in (f"OPEN: {QUESTIONS[question]}", *remarks)]

    def read(self) -> None:
        """Everything that can be said without running anything."""
        self._weights()
        self._graph()
        self._factory()
        if self.known.claimed_accuracy is not None:
            self.put("target", "claimed_accuracy", self.known.claimed_accuracy)
        for key, value in (self.known.recipe or {}).items():
            self.put("target.train", key, value)
        for key, chosen in self.known.call.items():
            self.put("call", key, chosen)
        if self.known.output is not None:
            self.put("call", "output", _number(self.known.output))
        self._split()

    def _weights(self) -> None:
        self.put("target", "weights", self._seen_from_out(self.model))
        held = self._state_dicts()
        key = self.known.weights_key
        if key is not None and key not in held:
            raise LoadError(f'{self.model.name} has no state dict under "{key}". {nearest(key, held)}')
        if key is not None:
            self.put("target", "weights_key", key)
        elif "" not in held:
            places = choices(held)
            others = [place for place in held if place not in places]
            if len(places) == 1:
                (key,) = places
                why = "where checkpoints keep it" if others else "the only state dict in the file"
                self.put("target", "weights_key", key, why, ", ".join(others) or "none known")
            else:
                self.leave("weights_key", "target", f"the file holds {', '.join(places)}")
        self.shapes = held.get(key or "", {})
        if self.known.strip_prefix is not None:
            self.put("target", "strip_prefix", self.known.strip_prefix)

    def _state_dicts(self) -> dict[str, dict[str, tuple[int, ...]]]:
        """Shapes by name of every dict of tensors in the file, two levels deep, by its key; "" for the file itself."""
        raw, name = read_bytes(self.model), self.model.name
        with reading(name, error=LoadError, expected="a checkpoint. Save it again."):
            return self._shapes(raw, name)

    def _shapes(self, raw: bytes, name: str) -> dict[str, dict[str, tuple[int, ...]]]:
        kind = kind_of(raw, name)
        if kind == "safetensors":
            return {"": {key: tuple(v.shape) for key, v in read_safetensors(raw, name, error=LoadError).items()}}
        if kind != "state_dict":
            raise refusal(raw, name, kind)
        try:
            archive = Archive(raw)
            found = {
                key: {tensor: tuple(archive.value(record).shape) for tensor, record in part.items()}
                for key, part in state_dicts(archive.content).items()
            }
        except UnreadableError as error:
            raise LoadError(
                f"{name} cannot be read: {error}. Expected plain tensors. Save the checkpoint again."
            ) from None
        content = archive.content
        if not found:
            raise LoadError(f"{name} holds no state dict; expected names to tensors. Save model.state_dict() again.")
        if isinstance(content, dict) and isinstance(content.get("hyper_parameters"), dict):
            self.hparams = content["hyper_parameters"]
        return found

    def _graph(self) -> None:
        if self.known.graph is None:
            self.leave("graph", "data")
            return
        self.data = load_data(self.known.graph, root=self.data_root, notify=self.notify)
        given = Path(self.known.graph).expanduser()
        key, value = ("path", self._seen_from_out(given)) if given.is_file() else ("name", self.known.graph)
        self.put("data", key, value)

    def _factory(self) -> None:
        spec, why, others = self.known.factory, "", "none known"
        if spec is None:
            found = list(_builders(self.model.parent))
            guess = found[0] if found else ""
            told = self.ask("Which function or class builds the model? file.py:name", "--factory", guess)
            spec, self.guessed_factory = told or guess, not told
            if not spec:
                self.leave("factory", "target")
                return
            if self.guessed_factory:
                why, others = "named like a builder, beside the weights", ", ".join(found[1:]) or "none seen"
        place, _, name = spec.rpartition(":")
        if not place or not name.isidentifier():
            raise UsageError(f'--factory is "{spec}"; expected "file.py:function" or "package.module:function".')
        if place.endswith(".py"):
            file = Path(place).expanduser()
            spec = f"{self._seen_from_out(file)}:{name}"
            if not file.is_file():
                raise UsageError(f"--factory names {place}, which does not exist. Correct the path.")
        else:
            file = Path(*place.split(".")).with_suffix(".py")
            self.put("target", "root", self._seen_from_out(Path()))
        self.put("target", "factory", spec, why, others)
        for parameter in _required(file, name) if file.is_file() else ():
            self._argument(parameter)

    def _argument(self, name: str) -> None:
        """A line of `[target.init]` for an argument that the factory must be given."""
        value = self.hparams.get(name)
        first = next((f"{key} is {list(shape)}" for key, shape in self.shapes.items() if len(shape) == 2), "")
        if isinstance(value, (bool, int, float, str)):
            self.put("target.init", name, value, "hyper_parameters of the checkpoint")
        elif name in WIDTHS and self.data is not None:
            self.put("target.init", name, self.data.graph.num_features, "columns of x", first or "none known")
        elif name in CLASSES and self.data is not None:
            self.put("target.init", name, int(self.data.graph.y.max()) + 1, "largest label + 1", first or "none known")
        else:
            remark = f"{name} = ?" + (f" ({first})" if first else "")
            if "init" in self.open:
                self.tables["target.init"].append(f"# {_bare(remark)}")
            else:
                self.leave("init", "target.init", remark)

    def _split(self) -> None:
        spec = self.known.split
        if spec is None and self.data is not None and self.data.default_split != UNKNOWN:
            return  # the data's own
        if spec is None:
            count = self.data.masks["train"].shape[1] if self.data is not None and self.data.masks else 0
            remark = (
                f"the graph holds {count} splits: masks:0 to masks:{count - 1}" if count else "the graph names none"
            )
            spec = self.ask(f"Which items was the model trained on? {remark}; file:split.npz or unknown", "--split", "")
            if not spec:
                self.leave("split", "data", remark)
                return
        form, _, place = spec.partition(":")
        if form == "file":
            if not Path(place).expanduser().is_file():
                raise UsageError(f'--split is "{spec}", and there is no such file. Correct the path.')
            spec = f"file:{self._seen_from_out(Path(place).expanduser())}"
        self.put("data", "split", spec)
        if form in DRAWN:
            self.tables["data"].append("# split_was_drawn_in_training = true  # only if training drew it just so")

    def tried(self, *, run_guesses: bool) -> tuple[str, float | None]:
        """(how forward is called, accuracy) by running the factory; ("", None) where that cannot be."""
        if {"graph", "factory", "init", "weights_key"} & set(self.open) or (self.guessed_factory and not run_guesses):
            return "", None
        target = self._assembled()
        if target is None:
            return "", None
        found = accuracy_when_saved(target)
        if target.claimed_accuracy is None and self._claimed(found, known=target.split.is_known):
            target = self._assembled() or target
        if self.known.recipe is None:
            question = "How was it trained? optimizer=adam,lr=0.01,epochs=200; empty for no recipe"
            for key, value in parse_pairs(self.ask(question, "--recipe", ""), "--recipe").items():
                self.put("target.train", key, value)
        return call_line(target.provenance["call"]), found

    def _assembled(self) -> Target | None:
        """The target as it is drafted; None where the call stays open."""
        file = _parsed(self.text(complete=False))
        assert self.data is not None
        try:
            return assemble(load_model(Request(file, self.out)), file, self.out, self.data)
        except UndecidedError as error:
            return self._assembled() if self._choose(error) else None

    def _choose(self, error: UndecidedError) -> bool:
        """Asks what the rules cannot decide; whether there is an answer."""
        output = error.about == "output"
        flag = "--output" if output else "--call"
        answer = self.ask(str(error), flag, "")
        if not answer:
            self.leave("output" if output else "call", "call", str(error))
            return False
        for key, value in ({"output": _number(answer)} if output else parse_pairs(answer, flag)).items():
            self.put("call", key, value if output else str(value))
        return True

    def _claimed(self, found: float, *, known: bool) -> bool:
        """Asks for the accuracy that the user knows; whether there is one."""
        items = "the test items" if known else "all items with a label, those it was trained on among them"
        question = f"{found:.3f} is measured on {items}; is that the number you know? The number, or empty"
        answer = self.ask(question, "--claimed-accuracy", "") if known else ""
        if answer:
            try:
                self.put("target", "claimed_accuracy", float(answer))
            except ValueError:
                raise UsageError(f'--claimed-accuracy is "{answer}"; expected a share such as 0.815.') from None
        else:
            self.tables["target"].append(
                f"# claimed_accuracy = {found:.4f}  # measured now on {items}; write the number that you know"
            )
        return bool(answer)

    def text(self, *, complete: bool = True) -> str:
        """The file; without `complete`, as if no question were open."""
        parts = [f'# Drafted by "auditor init" from {_bare(self.model.name)}. Check every GUESS; answer every OPEN.']
        if self.open and complete:
            parts.append(tomli_w.dumps({"unanswered": self.open}, multiline_strings=False).strip())
        parts += [f"\n[{name}]\n" + "\n".join(lines) for name, lines in self.tables.items() if lines]
        return "\n".join(parts) + "\n"

    def _seen_from_out(self, path: Path) -> str:
        return Path(os.path.relpath(path.resolve(), self.out.resolve())).as_posix()


def _builders(folder: Path) -> Iterator[str]:
    """`file.py:function` of functions beside the weights that are named like a builder."""
    for file in sorted(folder.glob("*.py")):
        names = [s.name for s in _statements(file) if isinstance(s, ast.FunctionDef) and s.name in BUILDERS]
        yield from (f"{file}:{name}" for name in names)


def _required(file: Path, name: str) -> list[str]:
    """Arguments that a function or class must be given, read from its text.

    Raises:
        LoadError: the file has no such function.
    """
    body = _statements(file)
    named = {s.name: s for s in body if isinstance(s, (ast.FunctionDef, ast.ClassDef))}
    imported = {a.asname or a.name for s in body if isinstance(s, (ast.Import, ast.ImportFrom)) for a in s.names}
    found = named.get(name)
    if found is None:
        if name in imported or "*" in imported or any(isinstance(s, ast.Assign) for s in body):
            return []
        raise LoadError(f"{file.name} has no function {name}. {nearest(name, named)}")
    if isinstance(found, ast.ClassDef):
        methods = [s for s in found.body if isinstance(s, ast.FunctionDef) and s.name == "__init__"]
        if not methods:
            return []
        found = methods[0]
    arguments = found.args
    names = [a.arg for a in (*arguments.posonlyargs, *arguments.args)]
    names = names[: len(names) - len(arguments.defaults)] if arguments.defaults else names
    only = [a.arg for a, d in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if d is None]
    return [n for n in names if n != "self"] + only


def _statements(file: Path) -> list[ast.stmt]:
    try:
        return ast.parse(bytes_of(file, error=LoadError, cap=MAX_TEXT, expected="the code of the model.")).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []


def parse_pairs(text: str, flag: str) -> dict[str, Any]:
    """`lr=0.01,epochs=200` as a table; numbers become numbers.

    Raises:
        UsageError: a part is no pair.
    """
    pairs: dict[str, Any] = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        key, equals, value = part.partition("=")
        if not equals or not key.strip() or not value.strip():
            raise UsageError(f'{flag} is "{text}"; expected pairs such as lr=0.01,epochs=200.')
        pairs[key.strip()] = _number(value.strip())
    return pairs


def _number(text: str) -> str | int | float:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _bare(text: str) -> str:
    """One line of printable signs: what a comment may hold."""
    return "".join(sign for sign in " ".join(text.split()) if sign.isprintable())
