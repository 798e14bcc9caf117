"""Words for the ids that a document holds: families, metrics, controls, damages, properties, sizes, statuses."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from auditor.document import NONE, RECIPE, Headline, Result
from auditor.document.facts import EditedData, Severity
from auditor.document.results import Question
from reports.sentences.numbers import called, count, listed

FAMILIES: Final = {"privacy": "Privacy", "robustness": "Robustness", "shift": "Shift"}
TITLES: Final = {**FAMILIES, "defense": "Defences", "dp": "Differential privacy"}
QUESTIONS: Final = {
    "privacy": "What does the model give away about the data it was trained on?",
    "robustness": "How far does it fall when somebody edits the graph?",
    "shift": "How far does it fall when the data moves, and does it notice?",
    "defense": "What does each defence gain over no defence and over its own controls?",
    "dp": "Can the claimed epsilon and delta be believed?",
}
SIZES: Final[Mapping[str, str]] = {
    "none": "none",
    "low": "small",
    "medium": "moderate",
    "high": "large",
    "critical": "very large",
}
CELLS: Final = {"ok": "ran", "skipped": "does not apply", "error": "broke off", "timeout": "broke off"}
"""How a test ended."""
CHECKS: Final = {"pass": "passed", "warn": "warns", "fail": "failed", "not_checked": "not checked"}

NO_TEST: Final = ("backdoors", "inference of group properties")
"""What people ask of a model that this version has no test for."""

ASKED: Final[Mapping[Question, str]] = {
    "ranking": "ranking",
    "low-fpr": "few false alarms",
    "accuracy": "guesses",
    "robustness": "edits",
    "edge-free": "falling below a model without edges",
    "over-confidence": "too much confidence",
    "under-confidence": "too little confidence",
    "damage": "mild damage",
    "held-out": "data that was held out",
    "worst-group": "the worst group",
    "silent-failure": "staying sure while failing",
    "inverted-confidence": "getting surer while failing",
    "non-finite": "answers that are not numbers",
    "defense-cost": "what a defence costs",
    "worst-case-loss": "a defended model under edits",
    "harm": "what learned weights cost",
}
"""What the policy has a limit for."""
_ARMS: Final = 4
"""Arms that a check names; the others are counted."""
_ACRONYMS = {"auc": "AUC", "ap": "AP", "ece": "ECE", "tpr": "TPR", "fpr": "FPR", "auroc": "AUROC",
             "msp": "MSP", "rauc": "RAUC", "prv": "PRV", "pld": "PLD"}  # fmt: skip
_HOLDERS = {
    "weights": "the weights",
    "posteriors": "served posteriors",
    "queries": "queries on the served graph",
    "own-queries": "queries on own graphs",
    "references": "models of the same recipe",
    "embeddings": "embeddings",
    "explanations": "explanations",
    "features": "node features",
    "labels": "labels",
    "neighbours": "the features of neighbours",
    "density": "the edge density",
    "graph": "the graph",
    "released": "the released model",
    "mechanism": "the mechanism",
    "scores": "the scores",
}
_CONTROLS = {
    "features": "features alone",
    "features-standardised": "features alone",
    "labels": "labels alone",
    "features+labels": "features and labels",
    "features-standardised+labels": "features and labels",
    "mlp": "a network without edges",
    "features+labels+mlp": "features, labels and a network without edges",
    "features-standardised+labels+mlp": "features, labels and a network without edges",
    "chance": "a blind guess",
    "without-answers/both": "the same guess without the answers",
    "without-answers/linear": "a linear guess without the answers",
    "without-answers/trees": "a guess by trees without the answers",
    "label-trained": "the same network trained on true labels",
    "untrained": "the same attack on an untrained model",
    "no-queries": "the same attack without a query",
    "blind": "a guess from features, class and degree",
    "difficulty": "how easy it is for other models",
    "others of the group": "others of the group",
    "counterfactual/degree": "a model trained on a rewired graph of equal degrees",
    "counterfactual/degree+class": "a model trained on a rewired graph of equal degrees and class mixing",
    "random": "random edits",
    "local-random": "random edits at the same nodes",
    "feature-random": "random edits of features",
    "poison-random": "as many random edits in training",
    "random-queries": "the best of as many random tries",
    "injection-random": "nodes added at random",
    "dice": "edits by a fixed rule",
    "edge-free": "the same recipe without edges",
    "random-split": "on a random split",
    "rewired-recipe": "the same recipe on random edges of equal degrees",
    "features-alone": "boosted trees on features alone",
    "edges of test items in training": "with those edges seen",
    "test items": "the other test items",
    "input-statistics": "the best statistic of the inputs",
    "sizes-and-averages": "sizes and averages",
    "commonest training class": "always naming the commonest class of the training",
    "constant": "always naming the commonest class",
}
_DAMAGES = {
    "edge-drop": "{} edges gone",
    "feature-mask": "{} feature values blanked",
    "node-drop": "{} nodes gone",
    "crop": "graphs cropped to {} of their nodes",
    "domain": "the held-out domain “{}”",
}
_DETECTORS = {
    "msp": "Confidence",
    "max_logit": "Largest logit",
    "energy": "Energy",
    "energy_prop": "Propagated energy",
    "prop_by_kind": "Energy along edges of one kind",
    "mahalanobis": "Distance to class means",
    "knn": "Distance to training items",
}
_MADE = {
    "sbm": "edges in random blocks",
    "sbm-matched": "as many edges in random blocks",
    "feature-interpolation": "features mixed from two nodes",
    "feature-permutation": "features of other nodes",
    "rewired": "random edges of equal degrees",
    "er": "as many random edges",
}
_ENDS = {
    "popularity": ("of high PageRank", "of low PageRank"),
    "locality": ("near the hub", "far from the hub"),
    "density": ("of high clustering", "of low clustering"),
}
"""Where nodes that the recipe is trained on lie by a property, and those that it is not."""
_COLUMNS = {
    ("utility", "clean_accuracy"): "right today",
    ("utility", "balanced_accuracy"): "class mean",
    ("utility", "poisoned_accuracy"): "right if poisoned",
    ("robustness", "robust_accuracy"): "right after edits",
    ("robustness", "one_flip_rate"): "nodes one edit breaks",
    ("privacy", "headroom"): "links given away",
    ("privacy", "fidelity"): "answers copied",
    ("privacy", "attribute"): "sensitive column told",
    ("shift", "worst_group_accuracy"): "weakest group",
    ("shift", "accuracy"): "mild damage",
    ("shift", "accuracy_with_graph"): "worth of the graph",
    ("shift", "heldout_quality"): "held-out data",
    ("shift", "structural_gap"): "lost on other places in the graph",
    ("shift", "msp_auroc"): "made-up data noticed",
    ("shift", "new_class_auroc"): "a new class noticed",
    ("shift", "prototype_auroc"): "strange graphs told by typical ones",
}
"""What a column of a comparison asks, by family and metric."""
_BUDGETS = {"eps": "{} edges", "ones": "{} feature bits", "nodes": "{} nodes"}
"""What a share in a subset is of."""
_CATEGORIES = "the categories of {} nodes"
"""The same where a node has one category, which is edited, and no bits."""
_ONE_NODE = "nodes=1"
"""One added node; of as many as there are it is `nodes=1.0`."""
_PARTS = {"id": "test graphs no larger than those trained on", "ood": "test graphs larger than those trained on"}
_ALONE = {("hops-to-train", "unreachable"): "no path to a labelled node"}
_PROPERTIES = {
    "degree": "degree {}",
    "pagerank": "PageRank {}",
    "personalised-pagerank": "PageRank from labelled nodes {}",
    "hops-to-train": "{} steps to the nearest labelled node",
    "clustering": "clustering {}",
    "nodes": "{} nodes",
    "mean-degree": "mean degree {}",
    "density": "density {}",
    "class": "class {}",
    "homophily": "a share {} of neighbours of their class",
}


def metric(name: str) -> str:
    """`tpr@0.001` as `TPR at 0.001 FPR`, `robust_accuracy` as `robust accuracy`: the small print of tables."""
    head, _, at = name.partition("@")
    words = " ".join(_ACRONYMS.get(word, word) for word in re.split(r"[_ ]", head))
    return f"{words} at {at} FPR" if at and head == "tpr" else f"{words} @ {at}" if at else words


def asked(result: Result) -> str:
    """What a result is about, where the policy has a limit for it: `too much confidence`."""
    return ASKED.get(result.question) or metric(result.metric)


def measured(result: Result) -> str:
    """Metric and what it was measured on, `AUC · full`."""
    return f"{metric(result.metric)} · {result.subset}" if result.subset else metric(result.metric)


def source(probe: str, on: str) -> str:
    """Probe, and the arm it was run on."""
    return probe if on == NONE else f"{probe} on {arm(on)}"


def joined_by(result: Result) -> str:
    """`worst of 3 seeds`, `mean over 3 seeds`; empty for one."""
    seeds = len(result.by_seed)
    if seeds < 2:
        return ""
    if result.arm == RECIPE:
        return f"mean over {seeds} trainings"
    return f"worst of {seeds} seeds" if result.joined_by == "worst" else f"mean over {seeds} seeds"


def holders(access: Iterable[str]) -> str:
    """Access words as a list of things held; `nothing` when there are none."""
    return listed([_HOLDERS.get(word, word) for word in access]) or "nothing"


def filled(text: str, access: Iterable[str]) -> str:
    """A text whose `{answers}`, `{and_answers}`, `{less}` (to serve instead) and `{file}` are this adversary's."""
    held = set(access)
    answers, less = ("answers", "labels or fewer digits")
    if "embeddings" in held:
        answers, less = ("embeddings", "answers in place of embeddings")
    file = "model file, its answers" if "posteriors" in held else "model file"
    text = text.replace("{and_answers}", " and its answers" if "posteriors" in held else "")
    return text.replace("{answers}", answers).replace("{less}", less).replace("{file}", file)


def control(name: str) -> str:
    """A control in words; one that has them already as it is. Over seeds several may be named."""
    return " or ".join(dict.fromkeys(_CONTROLS.get(part, part) for part in name.split(" / ")))


def arm(spec: str) -> str:
    """An arm by its spec; `no defence` for the target as it is, `new trainings of its recipe`."""
    return {NONE: "no defence", RECIPE: "new trainings of its recipe"}.get(spec, spec)


def items(level: str) -> str:
    """What one test item is, by the level of the task: `node`, `edge`, `graph`."""
    return level if level in ("node", "edge", "graph") else "item"


def damage(kind: str, severity: str) -> str:
    """`1 in 10 edges gone`, for `edge-drop` and `0.1`."""
    if kind == "edge-add":
        added, _, of = _portion(severity).partition(" in ")
        return f"{count(float(added), 'false edge')} added for every {of}" if of else f"{severity} false edges added"
    if kind == "feature-noise":
        return (
            f"noise of {severity} {'standard deviation' if severity == '1' else 'standard deviations'} on the features"
        )
    form = _DAMAGES.get(kind)
    return f"{kind.replace('-', ' ')} {severity}" if form is None else form.format(_portion(severity))


def ends(by: str) -> tuple[str, str]:
    """Both ends of a property that nodes were split by: `of high PageRank`, where the recipe is trained; the other."""
    return _ENDS.get(by, (f"of high {by}", f"of low {by}"))


def made(kind: str) -> str:
    """Data that was made up, by how: `random edges of equal degrees` for `rewired`."""
    return _MADE.get(kind, kind.replace("-", " "))


def classes(which: Sequence[int]) -> str:
    """`class 3`, `classes 4, 5 and 6`."""
    return f"{'class' if len(which) == 1 else 'classes'} {listed([str(c) for c in which])}"


def detector(name: str) -> str:
    """A score that may tell damaged items from others: `Confidence` for `msp`."""
    return _DETECTORS.get(name, name.replace("_", " "))


def group(cut_by: str, name: str) -> str:
    """What the items of a group have in common: `degree 2–3`, `no path to a labelled node`."""
    if (alone := _ALONE.get((cut_by, name))) is not None:
        return alone
    return _PROPERTIES.get(cut_by, cut_by.replace("-", " ") + " {}").format(name)


def column(headline: Headline, results: Iterable[Result] = ()) -> tuple[str, str]:
    """What a column of a comparison asks, and its unit: `right after edits (5 in 100 edges)`, `of 100`.

    The results say what was edited.
    """
    text = _COLUMNS.get((headline.family, headline.metric)) or f"{metric(headline.metric)}, {headline.probe}".strip(
        ", "
    )
    if headline.subset.partition("=")[0] in (*_BUDGETS, "radius"):
        text = f"right after edits of {subset(headline.subset, results)}"
    elif headline.subset in _PARTS:
        text += f" ({headline.subset.upper()})"
    unit = {"share": "of 100", "auc": "of 100", "errors": "of 100 errors"}.get(headline.unit, "")
    return text, "points" if headline.shown == "excess" and headline.unit in ("share", "auc") else unit


def subset(text: str, results: Iterable[Result] = ()) -> str:
    """What a budget or a set of items is called: `5 in 100 edges` for `eps=0.05`.

    Args:
        text: as a result names it.
        results: those of this subset say what was edited, bits or categories of nodes.
    """
    key, sign, value = text.partition("=")
    if text == _ONE_NODE:
        return "one added node"
    if sign and key in _BUDGETS:
        edited = (r.facts.what for r in results if r.subset == text and isinstance(r.facts, EditedData))
        return (_CATEGORIES if "categories" in edited else _BUDGETS[key]).format(_portion(value))
    if sign and key == "radius":
        return f"by {value} standard deviations"
    return _PARTS.get(text, text.replace("=", " "))


def check(id_: str) -> str:
    """`reference answers` for `reference-answers`: a check in words."""
    return id_.replace("-", " ")


def checks(ids: Iterable[str]) -> str:
    """`the check “gradient”`, `the checks “a” and “b”`."""
    named = [f"“{check(id_)}”" for id_ in ids]
    return f"the {called('check', named)}"


def together(evidence: str, alike: int, arms: Iterable[str]) -> str:
    """What one of several like checks saw, how many saw something else, and on which arms that was."""
    on = list(dict.fromkeys(map(arm, arms)))
    told = [f"and {count(alike, 'similar row')}"] if alike else []
    if on != [arm(NONE)]:
        more = [f"{len(on) - _ARMS} more"] if len(on) > _ARMS else []
        told.append(f"on {listed([*on[:_ARMS], *more])}")
    return f"{evidence} ({', '.join(told)})" if told else evidence


def size(severity: str) -> str:
    """`large` for `high`."""
    return SIZES.get(severity, severity)


def band(severity: Severity, upper: Severity) -> str:
    """`small, large not excluded`: what is proven, and what cannot be excluded where that is more."""
    proven = "none proven" if severity == "none" != upper else SIZES[severity]
    return proven if severity == upper else f"{proven}, {SIZES[upper]} not excluded"


def _portion(text: str) -> str:
    """`1 in 10`, `5 in 100`, of a number written as a fraction; the text itself where it is none."""
    try:
        value = float(text)
    except ValueError:
        return text
    return next(
        (f"{round(value * of)} in {of}" for of in (10, 100, 1000) if abs(value * of - round(value * of)) < 1e-9),
        f"{100 * value:.3g} in 100",
    )
