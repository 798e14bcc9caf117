"""Attacks on a model that serves by clusters, one file each."""
