"""Probes and methods of the shift family, one line each. Imports nothing heavy."""

from auditor import taxonomy
from auditor.registry import Entry, ProbeEntry, Shown, Table

SHIFT = "auditor.evaluate.shift.harness:evaluate"
STRATA = "auditor.evaluate.shift.by_strata:evaluate"
BENEFIT = "auditor.evaluate.shift.benefit:evaluate"
OOD = "auditor.evaluate.shift.unlike:evaluate"
LEFT_OUT = "auditor.evaluate.shift.left_out:evaluate"
TYPICAL = "auditor.evaluate.shift.typical:evaluate"
STRUCTURAL = "auditor.evaluate.shift.structural:evaluate"
HELD_OUT = "auditor.evaluate.shift.heldout:evaluate"

TABLE = Table(
    probes=(
        ProbeEntry(
            "strata",
            "shift",
            STRATA,
            "accuracy and calibration inside strata of today's test items",
            ("shift-worst-group", "shift-miscalibrated"),
            Shown("worst_group_accuracy"),
            touches=("beats-constant", "output-kind", "ties", "row-duplicate", "graph-duplicate"),
            tasks=("node", "graph"),
            cost={"quick": 5, "standard": 5, "full": 5},
            refuses="attacks.shift.strata:check_columns",
            taxa={"shift-miscalibrated": taxonomy.CALIBRATION},
        ),
        ProbeEntry(
            "corruption",
            "shift",
            SHIFT,
            "blind corruption of edges and features at three severities",
            ("shift-gap", "shift-silent-failure", "shift-inverted-confidence", "shift-non-finite"),
            Shown("accuracy"),
            touches=("beats-constant", "output-kind", "ties", "row-duplicate", "graph-duplicate"),
            tasks=("node", "graph"),
            cost={"quick": 5, "standard": 20, "full": 20},
        ),
        ProbeEntry(
            "ood-detection",
            "shift",
            OOD,
            "whether the model's scores tell data with other edges or other features from its own",
            ("shift-ood-unnoticed",),
            Shown("msp_auroc", as_value=True),
            touches=("beats-constant", "output-kind", "ties"),
            tasks=("node", "graph"),
            cost={"quick": 5, "standard": 20, "full": 20},
            profiles=("standard", "full"),
        ),
        ProbeEntry(
            "prototype-ood",
            "shift",
            TYPICAL,
            "whether distances to typical training graphs tell strange graphs better than their sizes do",
            ("shift-prototypes-no-benefit",),
            Shown("prototype_auroc", "rewired", as_value=True),
            touches=("graph-duplicate",),
            tasks=("graph",),
            cost={"quick": 50, "standard": 50, "full": 50},
            profiles=("standard", "full"),
            judges=False,
            own_levels_only=True,
            refuses="auditor.evaluate.shift.typical:check_held",
            extra=("ot", "POT"),
        ),
        ProbeEntry(
            "left-out-class",
            "shift",
            LEFT_OUT,
            "whether the recipe, trained without a class, is less sure of its items than of the others",
            ("shift-new-class-unnoticed",),
            Shown("new_class_auroc", as_value=True),
            touches=("beats-constant", "output-kind", "ties"),
            tasks=("node", "graph"),
            cost={"quick": 30, "standard": 30, "full": 30},
            profiles=("full",),
            refuses="auditor.evaluate.shift.left_out:check_classes",
        ),
        ProbeEntry(
            "graph-benefit",
            "shift",
            BENEFIT,
            "what the graph is worth to the recipe, beside rewired edges, no edges and features alone",
            ("graph-no-benefit", "split-transductive-gap"),
            Shown("accuracy_with_graph"),
            cost={"quick": 15, "standard": 15, "full": 15},
            profiles=("full",),
        ),
        ProbeEntry(
            "structural-split",
            "shift",
            STRUCTURAL,
            "how far the recipe falls on nodes unlike those it trains on: less central, farther off, less clustered",
            ("shift-structural-gap", "shift-class-mix"),
            Shown("structural_gap"),
            cost={"quick": 15, "standard": 15, "full": 15},
            profiles=("full",),
        ),
        ProbeEntry(
            "heldout-domain",
            "shift",
            HELD_OUT,
            "accuracy on a domain that was not trained on: another graph, items of a column, or larger graphs",
            (
                "shift-heldout-gap",
                "shift-class-mix",
                "shift-below-constant",
                "shift-silent-failure",
                "shift-inverted-confidence",
                "shift-non-finite",
            ),
            Shown("heldout_quality"),
            touches=("output-kind", "ties"),
            tasks=("node", "graph"),
            cost={"quick": 5, "standard": 5, "full": 5},
            profiles=("standard", "full"),
            deterministic=True,
            present="auditor.evaluate.shift.domains:has_domain",
            refuses="auditor.evaluate.shift.domains:check_domain",
        ),
    ),
    entries=(
        Entry(
            "strata",
            "attacks.shift.strata:Strata",
            "degree, PageRank, distance to training items, clustering, size, density",
            "shift",
            needs=("LABELS", "SPLIT"),
            access=("graph",),
        ),
        Entry(
            "corruption",
            "attacks.shift.corruption:Corruption",
            "edge-drop, edge-add, feature-mask, feature-noise, node-drop, crop",
            "shift",
            needs=("LABELS", "SPLIT"),
            access=("graph", "features"),
        ),
        Entry(
            "ood-detection",
            "attacks.shift.ood_detection:OodDetection",
            "block models, rewired and random edges, interpolated and permuted features",
            "shift",
            needs=("PROBS", "SPLIT"),
            access=("graph", "features"),
        ),
        Entry(
            "prototype-ood",
            "attacks.shift.prototype_ood:PrototypeOod",
            "rewired and random edges in every test graph",
            "shift",
            needs=("LABELS", "SPLIT"),
            access=("graph", "features"),
        ),
    ),
)
