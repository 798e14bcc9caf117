"""What an adversary guesses about members without the model, or with one that never saw them."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array
from sklearn.decomposition import TruncatedSVD
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from torch import Tensor
from torch.nn import functional

from auditor.evaluate.membership.trial import Trial, degrees
from auditor.shared import Shared, content
from auditor.targets.target import Target
from auditor.view import References

BLIND, DIFFICULTY, UNTRAINED = "blind", "difficulty", "untrained"
FOLDS = 5
COMPONENTS = 64
Floats = NDArray[np.float64]


def blind(target: Target, trial: Trial, *, features: bool, seed: int, shared: Shared) -> Floats | None:
    """Log-odds of being a member from what is known of an item, cross-fitted in five folds, [n]; no model is asked.

    Logistic regression (C = 1) on standardised columns: 64 of an SVD of the features, the class, log(1 + degree). Of a
    graph: nodes, edges, density, mean and largest degree, mean features, the class. The degree is the one place where
    a control sees edges: here membership is the secret. A split drawn by class is given away by this alone.

    None where a side has fewer items than folds.
    """
    if min(trial.members, trial.others) < FOLDS:
        return None
    columns = _columns(target, features=features, seed=seed)[trial.items].numpy()
    y = functional.one_hot(torch.from_numpy(trial.y), target.num_classes).numpy().astype(np.float64)
    x = _standardised(np.concatenate([columns, y], axis=1))

    def fitted() -> Floats:
        scores: Floats = np.empty(len(trial.member))
        folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
        for train, test in folds.split(x, trial.member):
            model = LogisticRegression(C=1.0, max_iter=1000).fit(x[train], trial.member[train])
            scores[test] = model.decision_function(x[test])
        return scores

    return shared.once(("blind", content(x, trial.member, seed)), fitted)


def difficulty(references: References, query: str, trial: Trial) -> Floats:
    """Mean phi of the models that were not trained on an item, [n]: how easy it is; their mean where all were."""
    inside, table = references.trained_on[:, trial.items], references.margins[query][:, trial.items]
    mean = torch.where(~inside, table, 0.0).sum(dim=0) / (~inside).sum(dim=0)
    filled: Floats = torch.where(torch.isnan(mean), mean.nanmean(), mean).numpy()
    return filled


def _columns(target: Target, *, features: bool, seed: int) -> Tensor:
    """What is known of each item beside its class, float64 [items, columns]."""
    graph = target.private_graph
    degree = degrees(target).double()
    if graph.batch is None:
        columns = [degree.log1p()[:, None]]
        return torch.cat([*columns, _components(graph.x, seed)] if features else columns, dim=1)
    b = graph.num_items
    nodes = torch.bincount(graph.batch, minlength=b).double()
    edges = torch.zeros(b, dtype=torch.float64).index_add_(0, graph.batch, degree) / 2
    most = torch.zeros(b, dtype=torch.float64).scatter_reduce_(0, graph.batch, degree, "amax")
    pairs = (nodes * (nodes - 1) / 2).clamp_min(1)
    known = [torch.stack([nodes, edges, edges / pairs, 2 * edges / nodes, most], dim=1)]
    if features:
        sums = torch.zeros(b, graph.num_features, dtype=torch.float64).index_add_(0, graph.batch, graph.x.double())
        known.append(sums / nodes[:, None])
    return torch.cat(known, dim=1)


def _components(x: Tensor, seed: int) -> Tensor:
    """Features on their first 64 singular directions; as they are where there are no more."""
    if x.shape[1] <= COMPONENTS or x.shape[0] <= COMPONENTS:
        return x.double()
    made = TruncatedSVD(COMPONENTS, random_state=seed).fit_transform(csr_array(x.double().numpy()))
    return torch.from_numpy(made)


def _standardised(x: Floats) -> Floats:
    spread = x.std(axis=0)
    return np.asarray((x - x.mean(axis=0)) / np.where(spread > 0, spread, 1.0))
