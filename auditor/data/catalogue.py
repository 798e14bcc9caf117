"""The data sets that `auditor` knows by name: a plain table that imports no torch."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from auditor.errors import DataError, nearest


@dataclass(frozen=True, slots=True)
class DataEntry:
    """One data set by name.

    Attributes:
        id: the name, lower case.
        task: `node` or `graph`.
        summary: one line for `auditor list data`.
        reader: which reader of `auditor.data.sources` turns the raw files into a graph.
        place: its folder in a data root with an INDEX.toml, when the index does not say otherwise.
        pyg_class: the PyG class that downloads it; empty when none does.
        pyg_kwargs: what that class is called with.
        pyg_folder: where that class keeps `raw/`, below the root that it is given; PyG's exact case.
        files: raw files that must exist.
        otherwise: or these in their place, as PyG downloads them.
        prefix: what the raw files' names begin with, where a reader needs it.
        bag_of_words: whether the features count words, so that `train` row-normalises them.
        default_split: used when none is named; empty for the rule (public masks, else unknown).
        molecules: whether its graphs are molecules, which an edit of nodes or edges makes others.
        needs: what else must be installed; such a set is listed but not read.
    """

    id: str
    task: Literal["node", "graph"]
    summary: str
    reader: str
    place: str = ""
    pyg_class: str = ""
    pyg_kwargs: dict[str, str] = field(default_factory=dict)
    pyg_folder: str = ""
    files: tuple[str, ...] = ()
    otherwise: tuple[str, ...] = ()
    prefix: str = ""
    bag_of_words: bool = False
    default_split: str = ""
    molecules: bool = False
    needs: str = "data root or download"


def _planetoid(name: str, summary: str) -> DataEntry:
    prefix = f"ind.{name.lower()}."
    parts = ("x", "tx", "allx", "y", "ty", "ally", "graph", "test.index")
    return DataEntry(
        name.lower(), "node", summary, "planetoid", f"planetoid/{name}", "Planetoid", {"name": name}, name,
        tuple(prefix + part for part in parts), prefix=name.lower(), bag_of_words=True,
    )  # fmt: skip


def _airports(name: str) -> DataEntry:
    low = name.lower()
    files = (f"{low}-airports.edgelist", f"labels-{low}-airports.txt")
    summary = f"flights between airports of {name}; label = activity quartile, identity features"
    return DataEntry(
        f"airports_{low}",
        "node",
        summary,
        "airports",
        f"airports/{low}",
        "Airports",
        {"name": name},
        low,
        files,
        prefix=low,
    )


def _csr(id: str, pyg_class: str, name: str, folder: str, file: str, summary: str) -> DataEntry:
    place = f"{pyg_class_folder(pyg_class)}/{folder}"
    return DataEntry(
        id, "node", summary, "csr", place, pyg_class, {"name": name}, folder, (file,), bag_of_words=True
    )  # fmt: skip


def pyg_class_folder(pyg_class: str) -> str:
    """The folder that a data root keeps a PyG class in: `CitationFull` -> `citation_full`."""
    return "".join(f"_{c.lower()}" if c.isupper() and i else c.lower() for i, c in enumerate(pyg_class))


def _geom(id: str, pyg_class: str, name: str, prefix: str, place: str, folder: str, summary: str) -> DataEntry:
    splits = (f"{prefix}_split_0.6_0.2_{i}.npz" for i in range(10))
    files = ("out1_node_feature_label.txt", "out1_graph_edges.txt", *splits)
    kwargs = {"name": name} if name else {}
    return DataEntry(
        id, "node", summary, "geom", place, pyg_class, kwargs, folder, files, prefix=prefix, bag_of_words=True
    )  # fmt: skip


def _twitch(name: str) -> DataEntry:
    summary = f"streamers of the {name} community; label = mature content, 3,170 multi-hot features"
    return DataEntry(
        f"twitch_{name.lower()}", "node", summary, "twitch", f"twitch/{name}", "Twitch", {"name": name}, name,
        (f"{name}.npz",), bag_of_words=True,
    )  # fmt: skip


def _tu(name: str, summary: str, *, node_labels: bool = True, molecules: bool = False) -> DataEntry:
    id = "tu_" + name.lower().replace("-", "_")
    return DataEntry(
        id, "graph", summary, "tu", f"tudataset/{name}", "TUDataset", {"name": name}, name,
        _tu_files(name, node_labels=node_labels), prefix=name, molecules=molecules,
    )  # fmt: skip


def _tu_files(name: str, *, node_labels: bool) -> tuple[str, ...]:
    parts = ("A", "graph_indicator", "graph_labels") + (("node_labels",) if node_labels else ())
    return tuple(f"{name}_{part}.txt" for part in parts)


CATALOGUE: tuple[DataEntry, ...] = (
    DataEntry("demo", "node", "generated, bundled: 300 nodes, 4 classes", "demo", bag_of_words=True, needs=""),
    DataEntry(
        "karate", "node", "Zachary's karate club, 34 members, built into PyG", "karate",
        default_split="random:0.6/0.2/0.2", needs="",
    ),
    *(
        DataEntry(
            f"synthetic/{name}", "graph", f"generated: {summary}; settings as in `:{example}`", "synthetic", needs=""
        )
        for name, summary, example in (
            ("spurious-motif", "house or another core, a star that goes along", "mu=0.9,test=flip,seed=1"),
            ("basis-concept", "3 motifs on 3 bases that tell the motif", "r=0.8,test=id,seed=1"),
            ("basis-covariate", "3 motifs, tested on another base", "test=ood,seed=1"),
            ("basis-size", "3 motifs, tested on larger bases", "test=ood,seed=1"),
        )
    ),
    _planetoid("Cora", "citations between machine-learning papers, 7 topics, public split"),
    _planetoid("CiteSeer", "citations between computer-science papers, 6 topics, public split"),
    _planetoid("PubMed", "citations between diabetes papers, 3 types, public split"),
    _airports("USA"),
    _airports("Brazil"),
    DataEntry(
        "polblogs", "node", "links between political blogs of 2004, 2 leanings, identity features", "polblogs",
        "polblogs", "PolBlogs", {}, "", ("adjacency.tsv", "labels.tsv"),
    ),
    _csr("citeseer_full", "CitationFull", "CiteSeer", "citeseer", "citeseer.npz", "CiteSeer in full, 6 topics"),
    _csr("dblp", "CitationFull", "DBLP", "dblp", "dblp.npz", "citations in DBLP, 4 fields"),
    _csr(
        "amazon_computers", "Amazon", "Computers", "Computers", "amazon_electronics_computers.npz",
        "products bought together, 10 categories",
    ),
    _csr("coauthor_cs", "Coauthor", "CS", "CS", "ms_academic_cs.npz", "co-authors in computer science, 15 fields"),
    *(
        _geom(
            f"webkb_{name.lower()}", "WebKB", name, name.lower(), f"webkb/{name.lower()}", name.lower(),
            f"web pages of {name}, 5 kinds, 10 public splits",
        )
        for name in ("Cornell", "Texas", "Wisconsin")
    ),
    _geom("actor", "Actor", "", "film", "actor", "", "actors named on the same page, 5 kinds, 10 public splits"),
    DataEntry(
        "blogcatalog", "node", "bloggers who follow each other, 6 interests", "blogcatalog",
        "attributed_graph/blogcatalog", "AttributedGraphDataset", {"name": "BlogCatalog"}, "blogcatalog",
        ("attrs.npz", "edgelist.txt", "labels.txt"), bag_of_words=True,
    ),
    *(_twitch(name) for name in ("DE", "EN", "ES", "FR", "PT", "RU")),
    _tu("MUTAG", "188 molecules, mutagenic or not", molecules=True),
    _tu("ENZYMES", "600 proteins, 6 enzyme classes"),
    _tu("PROTEINS", "1,113 proteins, enzyme or not"),
    _tu("AIDS", "2,000 molecules, active against HIV or not", molecules=True),
    _tu("IMDB-BINARY", "1,000 casts of films, 2 genres, no features", node_labels=False),
    DataEntry(
        "tu_dd", "graph", "1,178 proteins with up to 5,748 nodes, enzyme or not", "tu-zip", "tudataset_zip",
        "TUDataset", {"name": "DD"}, "DD", ("DD.zip",), _tu_files("DD", node_labels=True), prefix="DD",
    ),
    DataEntry(
        "tu_collab", "graph", "5,000 collaborations of physicists, 3 fields, no features", "collab", "collab",
        files=("COLLAB.npz",), needs="data root",
    ),
    DataEntry(
        "hiv", "graph", "41,120 molecules, active against HIV or not (not read: needs rdkit)", "rdkit",
        "molecule_net/hiv", files=("HIV.csv",), molecules=True, needs="rdkit",
    ),
    *(
        DataEntry(
            f"deeprobust/{name}", "node",
            f"{name}, largest component, Pro-GNN split; poisoned with {poisons}",
            "deeprobust",  # raw features, not row-normalised: what these files were poisoned for and published on
            default_split="prognn", needs="data root",
        )
        for name, poisons in (
            *((name, "`:metattack=0.25` or `:nettack=5.0`") for name in ("cora", "citeseer", "polblogs")),
            ("pubmed", "`:metattack=0.25`"),
        )
    ),
)  # fmt: skip


def find(name: str) -> DataEntry:
    """The entry of that name, whatever its case.

    Raises:
        DataError: no data set has that name; the nearest one is offered.
    """
    wanted = name.strip().lower()
    for entry in CATALOGUE:
        if entry.id == wanted:
            return entry
    raise DataError(
        f'"{name}" is neither a known data set nor a file that exists. {nearest(wanted, (e.id for e in CATALOGUE))} '
        'See "auditor list data", or give a path to an .npz, .pt or .safetensors file.'
    )


def is_file(name_or_path: str) -> bool:
    """Whether that means a file, and not a data set by its name."""
    path = Path(os.path.expanduser(name_or_path))
    looks_like_file = path.suffix.lower() in {".npz", ".pt", ".pth", ".safetensors"} or path.is_absolute()
    return looks_like_file or (os.path.exists(path) and not is_known(name_or_path))


def is_known(name: str) -> bool:
    """Whether a data set is called so, whatever follows its colon."""
    return any(entry.id == name.strip().lower().partition(":")[0] for entry in CATALOGUE)
