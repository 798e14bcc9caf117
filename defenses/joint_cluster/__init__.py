"""Joint-cluster training: predicts the class of a node together with the label mixture of its cluster."""
