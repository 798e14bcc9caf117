"""Robustness of training: what a recipe learns on an edited graph."""
