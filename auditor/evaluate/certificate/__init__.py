"""What no edit of so many edges can change, proven: of a vote over parts of a graph, or over graphs with noise."""
