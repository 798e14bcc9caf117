"""The harness of attribute inference: a sensitive column from answers, beside the best guess without them."""
