"""Robustness against an adversary who asks: no weights, a number of queries."""
