"""Splits by name: masks that come with the data, or drawn by label from a seed alone."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from auditor.data.graph import UNKNOWN, Split
from auditor.data.named import masks_from
from auditor.data.npz import read_arrays
from auditor.data.sources import LoadedData
from auditor.errors import ConfigError, SplitError, nearest
from auditor.reading.files import measure, reading

FORMS = ("public", "per-class:20", "random:0.6/0.2/0.2", "prognn", "size:25", "masks:0", "file:split.npz", UNKNOWN)
MAX_SPEC = 60
Indices = npt.NDArray[np.int64]


def make_split(spec: str, data: LoadedData, seed: int) -> Split:
    """The split that `spec` names; the same items for the same seed, whatever else is random.

    Args:
        spec: `public`, `file` for the masks in the data's own file, `per-class:k`, `random:a/b/c`, `prognn`, `size:n`,
            `masks:i` or `file:path.npz`; empty for the data's default.
        data: what `load_data` returned.
        seed: where drawn splits are drawn; >= 0. Unused by splits that are given.

    Raises:
        ConfigError: the spec cannot be understood.
        SplitError: it cannot be had from this data.
    """
    spec = spec.strip() or data.default_split
    form, _, argument = spec.partition(":")
    maker = MAKERS.get(form)
    if maker is None:
        raise ConfigError(
            f'split = "{spec}"; expected one of {", ".join(FORMS)}. '
            f"{nearest(form, (f.partition(':')[0] for f in FORMS))}"
        )
    if seed < 0:
        raise ConfigError(f"split_seed = {seed}; expected an integer from 0. Give another seed.")
    split = maker(argument, spec, data, seed)
    split.check_fits(data.graph)
    return split


def is_drawn(spec: str) -> bool:
    """Whether another seed gives another split."""
    return spec.strip().partition(":")[0] in DRAWN


def _own(argument: str, spec: str, data: LoadedData, seed: int) -> Split:
    """The one split that comes with the data, called what it is; `public` finds that of a file too."""
    _no_argument(argument, spec)
    if not data.masks or data.masks_from not in (("public", "file") if spec == "public" else (spec,)):
        raise SplitError(
            f'split = "{spec}", but {data.name} comes without {_KINDS[spec]} masks; expected masks in the data. '
            + _instead(data)
        )
    if data.masks["train"].dim() == 2:
        count = data.masks["train"].shape[1]
        raise SplitError(
            f'split = "{spec}", but {data.name} has {count} {_KINDS[data.masks_from]} splits; expected the number of '
            f"one. {_instead(data)}"
        )
    return _given(data.masks, SAID[data.masks_from])


SAID: Mapping[str, str] = {"public": "public", "file": "in the file", "given": "yours"}
"""What the split of the data is called: published with it, in the user's file, or given beside it."""

_KINDS: Mapping[str, str] = {"public": "public", "file": "own", "given": "given"}


def _instead(data: LoadedData) -> str:
    """What can be had from this data; nothing is a default where nobody knows the split."""
    if data.default_split != UNKNOWN:
        return f'Use split = "{data.default_split}".'
    if data.masks:
        return f'Use the one of the training: split = "masks:0" to "masks:{data.masks["train"].shape[1] - 1}".'
    return (
        'Name the items of the training: train_mask and test_mask in the file, or split = "file:split.npz". Where a '
        f'model is trained here they can be drawn: "{FORMS[1]}", "{FORMS[2]}".'
    )


def _prognn(argument: str, spec: str, data: LoadedData, seed: int) -> Split:
    _no_argument(argument, spec)
    if data.masks_from != "prognn":
        raise SplitError(
            f'split = "prognn", but {data.name} is no set of the DeepRobust pack; expected one of deeprobust/cora, '
            f"deeprobust/citeseer, deeprobust/polblogs, deeprobust/pubmed. {_instead(data)}"
        )
    return _given(data.masks, spec)


def _masks(argument: str, spec: str, data: LoadedData, seed: int) -> Split:
    index = _whole(argument, spec, "masks:0", least=0)
    if not data.masks:
        raise SplitError(
            f'split = "{spec}", but {data.name} comes without masks; expected masks in the data. ' + _instead(data)
        )
    columns = {name: mask if mask.dim() == 2 else mask[:, None] for name, mask in data.masks.items()}
    count = columns["train"].shape[1]
    if index >= count:
        raise SplitError(
            f'split = "{spec}", but {data.name} has {count} {"set" if count == 1 else "sets"} of masks; expected a '
            f'number from 0 to {count - 1}. Use one of these, such as "masks:0".'
        )
    return _given({name: mask[:, index] for name, mask in columns.items()}, spec)


def _file(argument: str, spec: str, data: LoadedData, seed: int) -> Split:
    if spec == "file" and data.masks_from == "file":
        return _own(argument, spec, data, seed)
    path = Path(os.path.expanduser(argument))
    expected = (
        "an .npz with train_mask, val_mask and test_mask. Correct the path, which is relative to the target's folder."
    )
    if not argument:
        raise SplitError(f'split = "{spec}" names no file; expected {expected}')
    measure(path, error=SplitError, expected=expected)
    with reading(path.name, error=SplitError, expected=expected):
        arrays = read_arrays(path)
        numbers = {key: torch.from_numpy(array) for key, array in arrays.items() if array.dtype.kind in "biuf"}
        masks = masks_from(numbers, data.graph.num_items, path.name)
    if not masks:
        raise SplitError(
            f"{path.name} holds {', '.join(sorted(arrays)) or 'no masks'}; expected train_mask and test_mask, or lists "
            "of ids such as train_idx and test_idx."
        )
    return _given(masks, _drawn_as(arrays.get("spec")) or f"file:{path.name}")


def _drawn_as(spec: npt.NDArray[np.generic] | None) -> str:
    """How the split of a file was drawn, where it says so in a form that is known."""
    word = "" if spec is None or spec.dtype.kind != "U" or spec.ndim else str(spec)
    return word if word.partition(":")[0] in DRAWN and len(word) <= MAX_SPEC else ""


def _unknown(argument: str, spec: str, data: LoadedData, seed: int) -> Split:
    _no_argument(argument, spec)
    return Split.unknown(data.graph.num_items)


def _per_class(argument: str, spec: str, data: LoadedData, seed: int) -> Split:
    """Picks k training items a class, a quarter of each class's rest to validate, the others to test."""
    k = _whole(argument, spec, "per-class:20", least=1)
    y = data.graph.y.numpy()
    rng = np.random.default_rng(seed)
    classes = np.unique(y[y >= 0])
    counts = np.bincount(y[y >= 0])
    short = [c for c in classes if counts[c] < k + 2]
    if short:
        most = int(counts[classes].min()) - 2
        raise SplitError(
            f'split = "{spec}", but class {short[0]} of {data.name} has {counts[short[0]]} items; expected at least '
            f"{k + 2} in every class, {k} to train on and two to validate and test. "
            + (f'Use "per-class:{most}" or "random:0.6/0.2/0.2".' if most >= 1 else 'Use "random:0.6/0.2/0.2".')
        )
    parts: list[list[Indices]] = [[], [], []]
    for c in classes:
        members = rng.permutation(np.flatnonzero(y == c))
        validate = k + max(1, (len(members) - k) // 4)
        for part, chosen in zip(parts, np.split(members, [k, validate]), strict=True):
            part.append(chosen)
    return _drawn(parts, len(y), spec, seed)


def _random(argument: str, spec: str, data: LoadedData, seed: int) -> Split:
    try:
        shares = [float(part) for part in argument.split("/")]
    except ValueError:
        shares = []
    fits = len(shares) == 3 and min(shares) >= 0 and abs(sum(shares) - 1) < 1e-6 and shares[0] > 0 and shares[2] > 0
    if not fits:  # asked this way round, since every comparison with NaN is false
        raise ConfigError(
            f'split = "{spec}"; expected three shares that add to 1, train and test above 0. Write '
            '"random:0.6/0.2/0.2".'
        )
    y = data.graph.y.numpy()
    return _drawn(_stratified(np.flatnonzero(y >= 0), y, shares[:2], np.random.default_rng(seed)), len(y), spec, seed)


def _size(argument: str, spec: str, data: LoadedData, seed: int) -> Split:
    """Trains and validates on graphs of at most n nodes, tests on all others (L2R's size split).

    Of the small graphs, floor(.9 * small) are drawn, a tenth of them validate; the rest join the large ones in the
    test.
    """
    largest = _whole(argument, spec, "size:25", least=1)
    if data.graph.batch is None:
        raise SplitError(
            f'split = "{spec}", but {data.name} is one graph; expected a set of graphs, which have sizes. '
            + _instead(data)
        )
    sizes = torch.bincount(data.graph.batch).numpy()
    labelled = data.graph.labelled.numpy()
    small, large = np.flatnonzero((sizes <= largest) & labelled), np.flatnonzero((sizes > largest) & labelled)
    drawn = (9 * len(small)) // 10
    if drawn < 10 or not len(large):
        raise SplitError(
            f'split = "{spec}": {len(small)} graphs of {data.name} have at most {largest} nodes, {len(large)} have '
            f"more; expected at least 12 small ones and one large. Sizes reach from {sizes.min()} to {sizes.max()}: "
            "choose a number between."
        )
    shares = [(drawn - drawn // 10) / len(small), (drawn // 10) / len(small)]
    parts = _stratified(small, data.graph.y.numpy(), shares, np.random.default_rng(seed))
    parts[2].append(large)
    return _drawn(parts, len(sizes), spec, seed)


def _stratified(items: Indices, y: Indices, shares: list[float], rng: np.random.Generator) -> list[list[Indices]]:
    """`items` in three parts, each class in proportion and with a training item; totals are the rounded shares.

    Bounds are rounded on the running total of the classes, so that rounding does not add up.
    """
    parts: list[list[Indices]] = [[], [], []]
    edges = np.cumsum(shares)
    seen = 0
    for c in np.unique(y[items]):
        members = rng.permutation(items[y[items] == c])
        low, high = (int(np.floor(e * (seen + len(members)) + 0.5)) - int(np.floor(e * seen + 0.5)) for e in edges)
        seen += len(members)
        low = max(low, 1)  # a class that is never trained on cannot be tested
        for part, chosen in zip(parts, np.split(members, [low, max(high, low)]), strict=True):
            part.append(chosen)
    return parts


def _drawn(parts: list[list[Indices]], items: int, spec: str, seed: int) -> Split:
    train, val, test = (_member_mask(np.concatenate(part), items) for part in parts)
    return Split(train, val, test, spec=spec, seed=seed)


def _member_mask(ids: Indices, items: int) -> Tensor:
    mask = torch.zeros(items, dtype=torch.bool)
    mask[torch.from_numpy(ids)] = True
    return mask


def _given(masks: Mapping[str, Tensor], spec: str) -> Split:
    return Split(masks["train"], masks["val"], masks["test"], spec=spec)


def _whole(argument: str, spec: str, example: str, *, least: int) -> int:
    if not argument.isdecimal() or len(argument) > MAX_SPEC or int(argument) < least:
        raise ConfigError(f'split = "{spec}"; expected a whole number from {least}. Write, for instance, "{example}".')
    return int(argument)


def _no_argument(argument: str, spec: str) -> None:
    if argument:
        raise ConfigError(f'split = "{spec}" takes nothing after the colon. Write "{spec.partition(":")[0]}".')


MAKERS: dict[str, Callable[[str, str, LoadedData, int], Split]] = {
    "public": _own,
    "given": _own,
    "per-class": _per_class,
    "random": _random,
    "prognn": _prognn,
    "size": _size,
    "masks": _masks,
    "file": _file,
    UNKNOWN: _unknown,
}
DRAWN = frozenset({"per-class", "random", "size"})
"""Forms that are drawn from a seed: they say what a model was trained on only if it was trained on just that draw."""
