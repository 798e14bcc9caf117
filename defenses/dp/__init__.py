"""Differentially private defences: one file per mechanism, records and samplers beside them."""
