"""What of the test data was visible in training: checks of a split that need no model. See docs/methods/split.md."""
