"""Audits a claimed (epsilon, delta): static account, power, pre-registration, canaries, reach twin, verdict.

Nothing here says that a claim is true: an audit can refute one, fail to see enough, or not refute it.
"""
