"""The audit on a terminal: one screen, the tables behind it, and the same words as plain lines."""
