"""The harness of edited graphs: verified accuracy under edits, beside random edits of the same budget."""
