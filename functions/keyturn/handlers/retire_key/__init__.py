"""The state of RetireKey."""
