"""`gap` with the two published mistakes planted: each claims ε and adds too little noise for it."""

from __future__ import annotations

import math

from auditor.parameters import parameters
from auditor.statistics.accounting import gaussian_noise_for
from defenses.dp.gap import Gap


@parameters
class ArcSensitivity(Gap):
    """Sensitivity 1 on an undirected graph: the noise is too small by √2."""

    def noise_std(self, delta: float) -> float:
        return gaussian_noise_for(self.epsilon, delta, math.sqrt(self.hops))


@parameters
class OneRelease(Gap):
    """Every hop spends the whole budget: the noise is too small by √K."""

    def noise_std(self, delta: float) -> float:
        return gaussian_noise_for(self.epsilon, delta, self.sensitivity)


@parameters
class BothDropped(Gap):
    """Both mistakes; with K = 2, half the noise."""

    def noise_std(self, delta: float) -> float:
        return gaussian_noise_for(self.epsilon, delta, 1.0)
