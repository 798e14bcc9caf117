"""The golden scenarios: command lines on small targets, and what is read after them. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

DAY = "2026-01-15"
EXPIRES = "2026-12-31"
AFTER = "2027-02-01"


@dataclass(frozen=True)
class Judged:
    """An audit judged again with the words of `auditor gate`, which prints its answer and writes none."""

    audit: str
    policy: str = "standard"
    fail_on: str | None = None
    baseline: str | None = None
    config: str | None = None
    as_of: str = DAY

    @property
    def command(self) -> str:
        """The command line that judges alike."""
        options = {"policy": self.policy, "fail-on": self.fail_on, "baseline": self.baseline, "config": self.config}
        words = [f"--{name} {value}" for name, value in options.items() if value is not None]
        return " ".join(("gate", f"{self.audit}/audit.json", *words, f"--as-of {self.as_of} --plain"))


@dataclass(frozen=True)
class Scenario:
    """Commands that run one after another in a folder of their own; `../NAME/…` lies in the folder of another one.

    Attributes:
        steps: command lines without the program's name; words are split at spaces.
        audits: folders whose `audit.json` is read.
        judged: audits judged again, by label; their commands follow the steps.
        diffs: pairs of audit folders that are compared, by label.
        baselines: baseline files that are read.
        repair: the `repair.json` whose numbers are read; empty for none.
        leave_out: kinds of rows that are not kept of the audits.
        needs: scenarios that run before.
        files: what is written into the folder first.
    """

    steps: tuple[str, ...] = ()
    audits: tuple[str, ...] = ()
    judged: Mapping[str, Judged] = field(default_factory=dict)
    diffs: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    baselines: tuple[str, ...] = ()
    repair: str = ""
    leave_out: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    files: tuple[Callable[[Path], None], ...] = ()

    @property
    def commands(self) -> tuple[str, ...]:
        """Every command line, in order."""
        return (*self.steps, *(judged.command for judged in self.judged.values()))


# --- what the scenarios read ----------------------------------------------------------------------------------------


def nodes(folder: Path) -> None:
    """`nodes.npz`: 120 nodes in three homophilic classes, binary features that carry part of the class."""
    _save_nodes(folder / "nodes.npz", seed=0, mixing=0.25)


def elsewhere(folder: Path) -> None:
    """`elsewhere.npz`: such nodes again, more of whose neighbours are of other classes."""
    _save_nodes(folder / "elsewhere.npz", seed=1, mixing=0.45)


def _save_nodes(path: Path, *, seed: int, mixing: float) -> None:
    import numpy as np

    n, classes, degree = 120, 3, 4.0
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(n) % classes)
    u, v = np.triu_indices(n, 1)
    p = np.where(y[u] == y[v], (1 - mixing) * classes, mixing * classes / (classes - 1)) * degree / n
    keep = rng.random(len(u)) < p
    x = (rng.random((n, 8 * classes)) < 0.1).astype(np.float32)
    for c in range(classes):
        x[y == c, 8 * c : 8 * c + 8] = rng.random((int((y == c).sum()), 8)) < 0.2
    edge_index = np.stack([np.r_[u[keep], v[keep]], np.r_[v[keep], u[keep]]])
    np.savez(path, x=x, edge_index=edge_index, y=y)


def graphs(folder: Path) -> None:
    """`graphs.npz`: 150 graphs of 5 to 14 nodes, cycles or random trees, a tenth of the labels turned round."""
    import numpy as np

    rng = np.random.default_rng(1)
    ends, batch, ys, start = [], [], [], 0
    for b in range(150):
        n, label = int(rng.integers(5, 15)), b % 2
        pairs = [(i, (i + 1) % n) if label == 0 else (int(rng.integers(i)), i) for i in range(label, n)]
        ends += [(u + start, v + start) for u, v in pairs]
        batch += [b] * n
        ys.append(label if rng.random() > 0.1 else 1 - label)
        start += n
    arcs = np.array([*ends, *((v, u) for u, v in ends)]).T
    x = np.c_[np.ones(start), rng.normal(0, 0.3, start)].astype(np.float32)
    np.savez(folder / "graphs.npz", x=x, edge_index=arcs, y=np.array(ys), batch=np.array(batch))


def scores(folder: Path) -> None:
    """`scores.npz`: 2000 canaries, told apart far better than a claim of 1 allows, and a twin with less noise."""
    import numpy as np

    rng = np.random.default_rng(2)
    own, twin = rng.integers(0, 2, 2000), rng.integers(0, 2, 2000)
    np.savez(
        folder / "scores.npz",
        bits=own,
        scores=2.0 * own + rng.normal(0, 1, 2000),
        twin_bits=twin,
        twin_scores=4.0 * twin + rng.normal(0, 1, 2000),
    )


def policy(folder: Path) -> None:
    """`policy.toml`: a policy of its own, an `inconclusive` that is no pass, and a rule that accepts findings."""
    (folder / "policy.toml").write_text(
        '[gate]\ninconclusive = "incomplete"\n\n'
        '[policy.own]\nfail_on = "medium"\nmin_confidence = "medium"\nmax_gap_pt = 5\n\n'
        f'[[suppress]]\nid = "shift-m*"\ntarget = "*"\nreason = "known"\nexpires = "{EXPIRES}"\n',
        encoding="utf-8",
    )


def granted(folder: Path) -> None:
    """`audit.toml`: the model that was trained beside it, and an adversary who holds more than is usual."""
    (folder / "audit.toml").write_text(
        '[target]\nname = "granted"\nweights = "target/model.safetensors"\n\n'
        '[model]\nclass = "GCN"\nin_channels = 24\nout_channels = 3\nhidden_channels = 8\nnum_layers = 2\n\n'
        '[data]\npath = "nodes.npz"\nsplit = "file:target/split.npz"\ntransform = "row-normalize"\n\n'
        '[access]\nembeddings = true\nexplanations = "own"\nsensitive = 0\nneighbours = true\n',
        encoding="utf-8",
    )


# --- the scenarios --------------------------------------------------------------------------------------------------

TRAIN = "train --data nodes.npz --hidden 8 --split random:0.42/0.08/0.5"
FEW = "negatives=300,replicates=50"
FEW_LINKS = f"counterfactuals=1,{FEW}"
LINKS = f"posterior-similarity:{FEW_LINKS}"
QUICK_LINKS = f"posterior-similarity:{FEW}"
EVASION = "structure-evasion:cycles=1,losses=tanh"
CERTIFICATE = "certificate:draws=1"
QUIET = "--format json --plain"
ACCEPT = f"--reason known --expires {EXPIRES} --as-of {DAY}"

SCENARIOS: Mapping[str, Scenario] = {
    "demo": Scenario(("demo -o demo",), audits=("demo",)),
    "node": Scenario(
        (
            f"{TRAIN} --epochs 40 -o target",
            f"run target -o run --profile standard --only "
            f"graphmi:counterfactuals=1,negatives=300,replicates=50,steps=10,{LINKS},{EVASION},eps=0.05/0.1,strata,"
            f"corruption {QUIET}",
        ),
        audits=("run",),
        files=(nodes,),
    ),
    "ensembles": Scenario(
        (
            f"{TRAIN} --epochs 40 -o target",
            "run target -o run --profile standard --seeds 0 --only "
            f"ensemble-outputs:{FEW_LINKS},ensemble-all:{FEW_LINKS} {QUIET}",
        ),
        audits=("run",),
        files=(nodes,),
    ),
    "granted": Scenario(
        (
            f"{TRAIN} --epochs 40 -o target",
            f"run audit.toml -o run --profile quick --seeds 0 --only embedding-similarity:{FEW},"
            f"explanation-similarity:{FEW},attribute-inference:replicates=50,extraction:budgets=25,"
            f"blackbox-graphmi:{FEW},queries=201,pairs=5,k=5 {QUIET}",
        ),
        audits=("run",),
        files=(nodes, granted),
    ),
    "shift": Scenario(
        (
            f"{TRAIN} --epochs 40 -o target",
            f"run target -o run --profile standard --seeds 0,1 --only graph-benefit:replicates=200,"
            f"heldout-domain:domain=elsewhere.npz,ood-detection:draws=1,"
            f"structural-split:properties=density,ratios=0.2/0.1/0.3/0.1/0.3,left-out-class {QUIET}",
            "train --data graphs.npz --arch gin --hidden 8 --layers 2 --epochs 30 --split size:10 -o many",
            f"run many -o many-run --profile standard --seeds 0 --only prototype-ood:pool=8,prototypes=2 {QUIET}",
        ),
        audits=("run", "many-run"),
        files=(nodes, elsewhere, graphs),
    ),
    "edited-nodes": Scenario(
        (
            f"{TRAIN} --epochs 40 -o target",
            "run target -o run --profile standard --seeds 0 --only "
            f"local-evasion:targets=10,protocols=uniform/degree120,feature-evasion,injection {QUIET}",
        ),
        audits=("run",),
        files=(nodes,),
    ),
    "gate": Scenario(
        (
            f"baseline write ../node/run/audit.json {ACCEPT} -o standard.json",
            f"baseline write ../node/run/audit.json {ACCEPT} --policy strict -o strict.json",
        ),
        judged={
            "lenient": Judged("../node/run", "lenient"),
            "standard": Judged("../node/run"),
            "strict": Judged("../node/run", "strict"),
            "from medium": Judged("../node/run", fail_on="medium"),
            "standard, accepted": Judged("../node/run", baseline="standard.json"),
            "strict, accepted": Judged("../node/run", "strict", baseline="strict.json"),
            "strict, accepted by standard": Judged("../node/run", "strict", baseline="standard.json"),
            "strict, expired": Judged("../node/run", "strict", baseline="strict.json", as_of=AFTER),
            "less was run": Judged("../diff/run", baseline="standard.json"),
            "file": Judged("../node/run", config="policy.toml"),
            "own": Judged("../node/run", "own", config="policy.toml"),
        },
        baselines=("standard.json", "strict.json"),
        needs=("node", "diff"),
        files=(policy,),
    ),
    "diff": Scenario(
        (
            f"{TRAIN} --epochs 300 -o target",
            f"run target -o run --profile standard --seeds 0 --only {LINKS},strata {QUIET}",
            "diff ../node/run/audit.json run/audit.json",
            "diff ../node/run/audit.json run/audit.json --fail-on-regression",
            "diff run/audit.json ../node/run/audit.json --fail-on-regression --all",
        ),
        audits=("run",),
        diffs={"later": ("../node/run", "run"), "earlier": ("run", "../node/run"), "same": ("run", "run")},
        needs=("node",),
        files=(nodes,),
    ),
    "graph": Scenario(
        (
            "train --data graphs.npz --arch gin --hidden 8 --layers 2 --epochs 30 --split size:10 -o target",
            f"run target -o run --profile quick {QUIET}",
            f"compare target -o compare --profile quick --only strata --defense l2r:mode=head {QUIET}",
        ),
        audits=("run", "compare"),
        files=(graphs,),
    ),
    "repair": Scenario(
        (
            f"{TRAIN} --epochs 40 -o target",
            "repair target --errors test --max-drawdown 3 -o fixed",
            f"run fixed -o run --profile quick --only strata {QUIET}",
            f"compare target -o compare --profile quick --only corruption --defense repair:errors=test {QUIET}",
        ),
        audits=("run", "compare"),
        repair="fixed/repair.json",
        files=(nodes,),
    ),
    "compare": Scenario(
        (
            f"{TRAIN} --epochs 100 -o target",
            "compare target -o compare --profile quick --defense joint-cluster --defense l2r:mode=head --defense "
            f"edge-rand:epsilon=8 --only {QUICK_LINKS},{EVASION} {QUIET}",
        ),
        audits=("compare",),
        files=(nodes,),
    ),
    "compare-seeds": Scenario(
        (
            f"{TRAIN} --epochs 40 -o target",
            "compare target -o compare --profile quick --seeds 0,1,2,3,4 --defense edge-rand:epsilon=8 --only "
            f"{QUICK_LINKS},{EVASION} {QUIET}",
        ),
        audits=("compare",),
        leave_out=("number", "series"),
        files=(nodes,),
    ),
    "edits": Scenario(
        (
            f"{TRAIN} --epochs 40 -o target",
            "run target -o run --profile quick --seeds 0 --only black-box:max_queries=100,"
            f"poisoning:cycles=1,losses=tanh,trainings=2,{CERTIFICATE},samples=400,choosing=100 {QUIET}",
            "train --data graphs.npz --arch gin --hidden 8 --layers 2 --epochs 30 --split size:10 -o many",
            "run many -o many-run --profile quick --seeds 0 --only black-box:max_queries=30,graphs=30,"
            f"{CERTIFICATE},parts=5 {QUIET}",
            "train --data graphs.npz --arch gin --epochs 30 --split size:10 -o able",
            "run able -o able-run --profile quick --seeds 0 --only "
            f"feature-evasion:graphs=30,radius=0.5/1,injection:graphs=30 {QUIET}",
        ),
        audits=("run", "many-run", "able-run"),
        files=(nodes, graphs),
    ),
    "clusters": Scenario(
        (
            f"{TRAIN} --epochs 100 -o target",
            "defend target --defense joint-cluster -o frozen",
            f"run frozen -o frozen-run --profile standard --seeds 0 --only "
            "partition-leak:counterfactuals=1,negatives=300,replicates=50,prototype-membership:draws=2,replicates=50,"
            f"prototype-edit:budgets=1/3 {QUIET}",
            "defend target --defense joint-cluster:prototypes=recluster -o moving",
            f"run moving -o moving-run --profile standard --seeds 0 --only cluster-jump:edges=3,targets=8 {QUIET}",
        ),
        audits=("frozen-run", "moving-run"),
        files=(nodes,),
    ),
    "claim-static": Scenario(
        (
            f"dp-claim --static q=0.0719,sigma=1,steps=700 --claim 1,1e-3 --level graph -o violated {QUIET}",
            f"dp-claim --static q=0.0719,sigma=1,steps=700 --claim 12,1e-3 --level graph -o not-run {QUIET}",
            "dp-claim --static q=0.0788,sigma=2,steps=200,units=1624,K=4,r=1 --claim 200,6e-5 --level node "
            f"--allow-inconclusive -o node {QUIET}",
        ),
        audits=("violated", "not-run", "node"),
    ),
    "claim-run": Scenario(
        (
            f"{TRAIN} --epochs 40 -o target",
            f"dp-claim target --defense edge-rand:epsilon=4 --claim 4 --canaries 3000 -o honest {QUIET}",
            f"dp-claim target --defense edge-rand:epsilon=4 --claim 3.9 --canaries 3000 -o below {QUIET}",
            f"dp-claim target --defense edge-rand:epsilon=4 --claim 4 --canaries 200 -o few {QUIET}",
            f"dp-claim target --defense edge-rand:epsilon=4 --claim 4 --canaries 500 --power-only -o power {QUIET}",
            f"dp-claim --scores scores.npz --claim 1,1e-5 --level edge -o scores {QUIET}",
            f"dp-claim --scores scores.npz --claim 8,1e-5 --level edge -o allowed {QUIET}",
        ),
        audits=("honest", "below", "few", "power", "scores", "allowed"),
        files=(nodes, scores),
    ),
}

RUNS = ("demo", "ensembles", "granted", "edits", "edited-nodes", "shift", "claim-static", "claim-run")
JUDGED = ("node", "diff", "gate", "graph", "repair")
COMPARISONS = ("compare", "compare-seeds", "clusters")
"""The scenarios of each test file: one file is one worker."""
