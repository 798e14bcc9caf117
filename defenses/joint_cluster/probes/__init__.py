"""Probes of what joint-cluster ships: its table of clusters and its prototypes."""
