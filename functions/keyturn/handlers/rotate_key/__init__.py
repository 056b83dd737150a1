"""The states of RotateKey."""
