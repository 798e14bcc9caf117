"""Every built-in defence, one line each. Imports nothing heavy."""

from auditor.registry import Entry, Table
from defenses.dp.refusals import NOT_OFFERED

HEAD = ("EMBEDDINGS", "PARAMS", "SPLIT", "BARE")
BOTH = ("node", "graph")

TABLE = Table(
    entries=(
        Entry(
            "l2r",
            "defenses.l2r.method:L2R",
            "L2R-GNN: weighs training items so that embedding dimensions become independent",
            "shift",
            needs=HEAD,
            tasks=BOTH,
            controls=("uniform-refit", "l2r", "random-weights"),
            findings=("l2r-effect", "l2r-nothing-to-decorrelate"),
        ),
        Entry(
            "uniform-refit",
            "defenses.uniform_refit:UniformRefit",
            "control: refits the last layer with equal weights",
            "shift",
            needs=HEAD,
            role="control",
            tasks=BOTH,
        ),
        Entry(
            "random-weights",
            "defenses.random_weights:RandomWeights",
            "control: random weights with the effective sample size of their twin",
            "shift",
            needs=HEAD,
            role="control",
            tasks=BOTH,
            reference="random",
        ),
        Entry(
            "group-balanced",
            "defenses.group_balanced:GroupBalanced",
            "every named group weighs the same; refits the last layer",
            "shift",
            needs=HEAD,
            tasks=BOTH,
            controls=("uniform-refit", "l2r"),
            findings=("l2r-effect",),
            reference="oracle",
        ),
        Entry(
            "joint-cluster",
            "defenses.joint_cluster.method:JointCluster",
            "predicts class and label mixture of the cluster together; against edited edges",
            "robustness",
            needs=("RETRAIN", "EMBEDDINGS", "BARE"),
            controls=("joint-cluster",),
        ),
        Entry(
            "repair",
            "defenses.repair.method:Repair",
            "edits the weights so that named wrong nodes become right, within an accuracy budget",
            "repair",
            needs=("PARAMS", "SPLIT"),
            controls=("repair",),
        ),
        Entry(
            "edge-rand",
            "defenses.dp.edge_rand:EdgeRand",
            "edge-level DP: flips every pair of nodes with probability 1 / (1 + e^epsilon)",
            "privacy",
            needs=("RETRAIN", "BARE"),
            controls=("edge-rand", "gap"),
        ),
        Entry(
            "lap-graph",
            "defenses.dp.lap_graph:LapGraph",
            "edge-level DP: Laplace noise on every pair, the largest kept; as dense as the true graph",
            "privacy",
            needs=("RETRAIN", "BARE"),
            controls=("lap-graph", "gap"),
        ),
        Entry(
            "gap",
            "defenses.dp.gap:Gap",
            "edge-level DP: K noisy sums over neighbours, released once; a network of its own",
            "privacy",
            needs=("RETRAIN", "BARE"),
            controls=("gap",),
        ),
        Entry(
            "dp-graph",
            "defenses.dp.graph:DPGraph",
            "graph-level DP-SGD: noisy sums of clipped per-graph gradients",
            "privacy",
            needs=("RETRAIN", "BARE"),
            tasks=("graph",),
            controls=("dp-graph",),
        ),
        Entry(
            "graphmi-noise",
            "defenses.dp.graphmi_noise:GraphMINoise",
            "noise that looks like DP and has an epsilon of 160,000",
            "counter-example",
            needs=("RETRAIN", "BARE"),
            tasks=BOTH,
        ),
        Entry(
            "dp-node",
            "defenses.dp.node:DPNode",
            "node-level DP: DP-SGD over rooted subgraphs in which no node occurs often; covers training only",
            "privacy",
            needs=("RETRAIN", "BARE"),
            controls=("dp-node",),
        ),
    ),
    not_offered=NOT_OFFERED,
)
