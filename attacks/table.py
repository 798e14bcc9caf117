"""Every built-in probe and attack, one line each. Imports nothing heavy."""

from auditor.registry import Entry, ProbeEntry, Table

LINKS = "auditor.evaluate.links:evaluate"
ROBUSTNESS = "auditor.evaluate.robustness:evaluate"
CLUSTERS = "auditor.evaluate.clusters:evaluate"
SHIFT = "auditor.evaluate.shift:evaluate"

TABLE = Table(
    probes=(
        ProbeEntry(
            "graphmi",
            "privacy",
            LINKS,
            "GraphMI: rebuilds training edges from the weights by gradient inversion",
            ("privacy-link-inversion",),
            cost={"standard": 25, "full": 200},
            profiles=("standard", "full"),
        ),
        ProbeEntry(
            "posterior-similarity",
            "privacy",
            LINKS,
            "link stealing: tells edges by the similarity of served posteriors",
            ("privacy-link-stealing",),
            cost={"quick": 10, "standard": 25, "full": 60},
        ),
        ProbeEntry(
            "partition-leak",
            "privacy",
            LINKS,
            "tells edges by a table of clusters that the artefact ships",
            ("joint-table-leaks-edges",),
            cost={"quick": 10, "standard": 25, "full": 60},
            defenses=("joint-cluster",),
        ),
        ProbeEntry(
            "structure-evasion",
            "adversarial",
            ROBUSTNESS,
            "adds and removes edges to break as many predictions as it can",
            ("robustness-structure",),
            tasks=("node", "graph"),
            cost={"quick": 15, "standard": 90, "full": 400},
        ),
        ProbeEntry(
            "prototype-shift",
            "adversarial",
            CLUSTERS,
            "edits edges at the nodes behind a cluster's prototype",
            ("prototype-shift",),
            cost={"standard": 90, "full": 90},
            profiles=("standard", "full"),
            defenses=("joint-cluster",),
        ),
        ProbeEntry(
            "cluster-jump",
            "adversarial",
            CLUSTERS,
            "adds edges at a node until the partition puts it elsewhere",
            ("joint-cluster-jump",),
            cost={"standard": 120, "full": 120},
            profiles=("standard", "full"),
            defenses=("joint-cluster",),
        ),
        ProbeEntry(
            "strata",
            "shift",
            SHIFT,
            "accuracy and calibration inside strata of today's test items",
            ("shift-worst-group", "shift-miscalibrated"),
            tasks=("node", "graph"),
            cost={"quick": 5, "standard": 5, "full": 5},
        ),
        ProbeEntry(
            "corruption",
            "shift",
            SHIFT,
            "blind corruption of edges and features at three severities",
            ("shift-gap", "shift-silent-failure", "shift-inverted-confidence", "shift-non-finite"),
            tasks=("node", "graph"),
            cost={"quick": 5, "standard": 20, "full": 20},
        ),
    ),
    entries=(
        Entry(
            "graphmi",
            "attacks.privacy.graphmi:GraphMI",
            "projected gradient inversion of the weights, dense or on candidates",
            "privacy",
            needs=("PARAMS", "GRAD_EDGE"),
        ),
        Entry(
            "posterior-similarity",
            "attacks.privacy.posterior_similarity:PosteriorSimilarity",
            "correlation of log-posteriors",
            "privacy",
            needs=("PROBS",),
        ),
        Entry(
            "partition-leak",
            "attacks.privacy.partition_leak:PartitionLeak",
            "same cluster in the shipped table, ties by feature cosine",
            "privacy",
            needs=("PARAMS",),
        ),
        Entry(
            "active-set",
            "attacks.adversarial.active_set:ActiveSet",
            "projected gradient on an active set of pairs, two losses",
            "adversarial",
            "structure-evasion",
            ("GRAD_EDGE",),
        ),
        Entry(
            "random",
            "attacks.adversarial.random_flips:RandomFlips",
            "uniform pairs, the control of the family",
            "adversarial",
            "structure-evasion",
        ),
        Entry(
            "dice",
            "attacks.adversarial.dice:Dice",
            "deletes edges inside a class, adds edges between classes",
            "adversarial",
            "structure-evasion",
        ),
        Entry(
            "prototype-shift",
            "attacks.adversarial.prototype_shift:PrototypeShift",
            "greedy flips at prototype nodes, by the gradient through the prototype",
            "adversarial",
            needs=("GRAD_EDGE",),
        ),
        Entry(
            "cluster-jump",
            "attacks.adversarial.cluster_jump:ClusterJump",
            "edges towards the most-connected rival clusters, re-partitioned after each",
            "adversarial",
            needs=("PARAMS",),
        ),
        Entry(
            "strata",
            "attacks.shift.strata:Strata",
            "degree, PageRank, distance to training items, clustering, size, density",
            "shift",
            needs=("LABELS",),
        ),
        Entry(
            "corruption",
            "attacks.shift.corruption:Corruption",
            "edge-drop, edge-add, feature-mask, feature-noise, node-drop, crop",
            "shift",
            needs=("LABELS",),
        ),
    ),
)
