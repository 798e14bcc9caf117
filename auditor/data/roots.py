"""Where raw files lie: a data root (only ever read), or a cache that PyG downloads into."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from auditor.data.catalogue import DataEntry
from auditor.errors import DataError
from auditor.reading.toml import read_toml

Notify = Callable[[str], None]


def resolve_root(option: Path | str | None = None, configured: Path | str | None = None) -> Path | None:
    """The data root: `--data-root`, else `AUDITOR_DATA`, else the config's; None when none is named.

    Raises:
        DataError: the folder named does not exist, or its links go round in circles.
    """
    for origin, given in (
        ("--data-root", option), ("AUDITOR_DATA", os.environ.get("AUDITOR_DATA")), ("[data] root", configured),
    ):  # fmt: skip
        if given is None or not str(given):
            continue
        root = _resolved(Path(given), origin)
        if not root.is_dir():
            raise DataError(
                f"{origin} is {given}, which is no folder; expected the folder that holds the data sets. "
                "Correct the path, or leave it out to download."
            )
        return root
    return None


def resolve_cache(option: Path | None = None) -> Path:
    """The cache folder, made with mode 0700: the option, else `AUDITOR_CACHE`, else the user's cache.

    Raises:
        DataError: it cannot be made.
    """
    if option is None and os.environ.get("AUDITOR_CACHE"):
        option = Path(os.environ["AUDITOR_CACHE"])
    if option is None:
        from platformdirs import user_cache_path

        option = user_cache_path("auditor")
    try:
        option.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"the cache {option} cannot be made ({error.strerror}); expected a folder that can be written. "
            "Set AUDITOR_CACHE to one."
        ) from error
    return _resolved(option, "the cache")


def raw_folder(entry: DataEntry, root: Path | None, cache: Path | None, *, download: bool, notify: Notify) -> Path:
    """The folder with every raw file of `entry`.

    With a root, only the root is read, unless `download` allows the cache too. Without one, what is missing is
    downloaded into the cache, and `notify` is told before.

    Raises:
        DataError: files are missing and may not, or cannot, be downloaded; expected files and places are listed.
    """
    looked = candidates(entry, root) if root is not None else []
    for folder in looked:
        if not missing_files(folder, entry):
            return folder
    if (root is None or download) and entry.pyg_class:
        place = resolve_cache(cache)
        if root is not None and (place == root or root in place.parents or place in root.parents):
            raise DataError(
                f"the data root {root} and the cache {place} lie inside each other; expected two separate folders, "
                "since a root is never written. Set AUDITOR_CACHE elsewhere, or leave the root out."
            )
        folder = place / "pyg" / entry.pyg_class / entry.pyg_folder / "raw"
        if not missing_files(folder, entry):
            return folder
        _download(entry, place / "pyg" / entry.pyg_class, notify)
        looked.append(folder)
    for folder in looked:
        if not missing_files(folder, entry):
            return folder
    if not looked:
        raise DataError(
            f"{entry.id} cannot be downloaded; expected {', '.join(entry.files)} in a data root. Name one with "
            "--data-root."
        )
    absent = missing_files(looked[0], entry)
    raise DataError(
        f"{entry.id}: raw files are missing ({', '.join(absent[:3])}{', …' if len(absent) > 3 else ''}); expected "
        f"{', '.join(entry.files[:4])}{', …' if len(entry.files) > 4 else ''} in one of: "
        f"{'; '.join(str(folder) for folder in looked)}. "
        + ("Put them there, or allow --download." if root is not None else "Name a data root with --data-root.")
    )


def candidates(entry: DataEntry, root: Path) -> list[Path]:
    """Folders of `root` that may hold the raw files: as INDEX.toml says, by our default, and in PyG's own layout."""
    places = [indexed["folder"] for indexed in index_entries(root, "dataset") if indexed["name"].lower() == entry.id]
    folders = [root / place for place in dict.fromkeys([*places, entry.place])]
    found = [f for folder in folders for f in (folder / "raw", folder)]
    if entry.pyg_class:
        found.append(root / entry.pyg_folder / "raw")
    inside = [_resolved(folder, "a folder of the data root") for folder in dict.fromkeys(found)]
    return inside


def index_entries(root: Path, kind: str) -> list[dict[str, Any]]:
    """The `[[dataset]]` or `[[deeprobust]]` tables of INDEX.toml; none without that file.

    Raises:
        DataError: the file is broken or of another format.
    """
    path = root / "INDEX.toml"
    if not path.is_file():
        return []
    index = read_toml(path, missing=DataError, error=DataError)
    if index.get("format") != 1:
        raise DataError(f"{path} has format = {index.get('format')!r}; expected 1. Use an index of that format.")
    entries = index.get(kind, [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise DataError(f"{path}: {kind} is no list of tables; expected [[{kind}]]. Correct it.")
    for entry in entries:
        key = "folder" if kind == "dataset" else "name"
        if not isinstance(entry.get("name"), str) or not isinstance(entry.get(key), str):
            raise DataError(
                f"{path}: a [[{kind}]] entry lacks name or {key}; expected both as text. Correct the entry."
            )
        part = Path(entry[key])
        if part.is_absolute() or ".." in part.parts:
            raise DataError(f"{path}: {entry['name']} points to {entry[key]}, outside the root. Correct the entry.")
    return list(entries)


def missing_files(folder: Path, entry: DataEntry) -> list[str]:
    """The raw files that `folder` lacks; none when either form of the set is complete."""
    return [] if present_files(folder, entry) else [name for name in entry.files if not (folder / name).is_file()]


def present_files(folder: Path, entry: DataEntry) -> list[Path]:
    """The raw files of the form that is complete in `folder`; none when neither is."""
    for form in (entry.files, entry.otherwise):
        paths = [folder / name for name in form]
        if paths and all(path.is_file() for path in paths):
            return paths
    return []


def digest_files(paths: list[Path]) -> str:
    """sha256 over the names and the bytes of `paths`, in the order given."""
    sha = hashlib.sha256()
    for path in paths:
        with path.open("rb") as stream:
            sha.update(f"{hashlib.file_digest(stream, 'sha256').hexdigest()}  {path.name}\n".encode())
    return sha.hexdigest()


class _DownloadedError(Exception):
    """Leaves PyG's constructor between download and processing."""


def _download(entry: DataEntry, folder: Path, notify: Notify) -> None:
    """Lets PyG's class download raw files into `folder`, and stops it before it reads any of them."""
    import torch_geometric.datasets

    def stop(_: object) -> None:
        raise _DownloadedError

    base = getattr(torch_geometric.datasets, entry.pyg_class)
    fetcher = type(entry.pyg_class, (base,), {"_process": stop})
    notify(f"downloading {entry.id} with torch_geometric.datasets.{entry.pyg_class} to {folder}")
    try:
        fetcher(str(folder), **entry.pyg_kwargs)
    except _DownloadedError:
        return
    except Exception as error:  # whatever a network or an archive throws, the reader needs the same advice
        raise DataError(
            f"{entry.id} could not be downloaded ({type(error).__name__}: {error}); expected "
            f"{', '.join(entry.files[:4])} below {folder}. Connect to the network, or put the raw files into a data "
            "root and name it with --data-root."
        ) from error


def _resolved(path: Path, what: str) -> Path:
    try:
        return path.expanduser().resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise DataError(f"{what} is {path}, whose links go round in circles ({error}). Correct the link.") from error
