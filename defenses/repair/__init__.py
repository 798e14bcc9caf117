"""Post-audit repair: edits the weights so that named wrong nodes become right, within an accuracy budget."""
