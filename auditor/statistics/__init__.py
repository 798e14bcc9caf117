"""Intervals, ranking metrics and calibration: thin over scikit-learn and SciPy."""
