"""The harness of model extraction: a copy made from answers, beside one made from labels."""
