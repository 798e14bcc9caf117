"""Privacy and robustness auditor for trained graph neural networks."""

__version__ = "0.2.0"
