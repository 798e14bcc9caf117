"""The harnesses: they hold the truth, re-check every claim and run the controls."""
