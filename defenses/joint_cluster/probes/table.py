"""Probes of what joint-cluster ships and their attacks, one line each. Imports nothing heavy."""

from auditor.registry import Entry, ProbeEntry, Shown, Table
from auditor.taxonomy import ARTEFACT, EVASION, MEMBERSHIP

LINKS = "auditor.evaluate.links.harness:evaluate"
HERE = "defenses.joint_cluster.probes"
OWN = ("joint-cluster",)

TABLE = Table(
    probes=(
        ProbeEntry(
            "partition-leak",
            "privacy",
            LINKS,
            "tells edges by a table of clusters that the artefact ships",
            ("joint-table-leaks-edges",),
            Shown("headroom"),
            touches=("output-scale", "output-kind"),
            cost={"quick": 10, "standard": 25, "full": 60},
            defenses=OWN,
            taxon=ARTEFACT,
        ),
        ProbeEntry(
            "prototype-membership",
            "privacy",
            f"{HERE}.membership:evaluate",
            "tells training nodes by their distance to a prototype that the artefact ships",
            ("prototype-membership", "joint-small-prototype", "joint-live-needs-training-graph"),
            Shown("headroom"),
            touches=("output-scale", "output-kind"),
            cost={"quick": 1, "standard": 4, "full": 8},
            defenses=OWN,
            taxon=ARTEFACT,
            taxa={"prototype-membership": MEMBERSHIP},
        ),
        ProbeEntry(
            "prototype-edit",
            "robustness",
            f"{HERE}.prototype_edits:evaluate",
            "edits edges at the nodes behind a cluster's prototype",
            ("prototype-edit",),
            Shown("prototype_flips_per_edge"),
            touches=("beats-constant",),
            cost={"standard": 90, "full": 90},
            profiles=("standard", "full"),
            defenses=OWN,
            tries=True,
            taxon=EVASION,
            rng_name="prototype-shift",
        ),
        ProbeEntry(
            "cluster-jump",
            "robustness",
            f"{HERE}.jumps:evaluate",
            "adds edges at a node until the partition puts it elsewhere",
            ("joint-cluster-jump",),
            Shown("jump_rate"),
            touches=("beats-constant",),
            cost={"standard": 120, "full": 120},
            profiles=("standard", "full"),
            defenses=OWN,
            tries=True,
            taxon=EVASION,
        ),
    ),
    entries=(
        Entry(
            "partition-leak",
            f"{HERE}.attacks.partition_leak:PartitionLeak",
            "same cluster in the shipped table, ties by feature cosine",
            "privacy",
            needs=("PARAMS",),
            access=("features", "weights"),
        ),
        Entry(
            "prototype-membership",
            f"{HERE}.attacks.prototype_membership:PrototypeMembership",
            "distance to the prototype of the node's cluster",
            "privacy",
            needs=("PARAMS", "EMBEDDINGS"),
            access=("weights", "embeddings"),
        ),
        Entry(
            "prototype-edit",
            f"{HERE}.attacks.prototype_edit:PrototypeEdit",
            "greedy flips at prototype nodes, by the gradient through the prototype",
            "robustness",
            needs=("GRAD_EDGE",),
            access=("graph", "weights", "features", "labels"),
            role="search",
            rng_name="prototype-shift",
        ),
        Entry(
            "cluster-jump",
            f"{HERE}.attacks.cluster_jump:ClusterJump",
            "edges towards the most-connected rival clusters, re-partitioned after each",
            "robustness",
            needs=("PARAMS",),
            access=("graph", "weights", "features"),
            role="search",
        ),
    ),
)
