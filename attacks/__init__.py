"""Attacks: one method, one file; `table.py` lists them."""
