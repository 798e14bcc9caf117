"""Attacks on the privacy of the training graph."""
