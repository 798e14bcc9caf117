"""Blind shifts of the data."""
