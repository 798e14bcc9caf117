"""Trained models: loading, capabilities, validity, retraining."""
