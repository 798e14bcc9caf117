"""The comparison: a target undefended and under each defence, beside controls that lack one idea."""
