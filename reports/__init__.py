"""Renderings of the audit document; `table.py` lists them."""
