"""Attacks that edit the graph."""
