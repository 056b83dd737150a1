"""The states of RotateFleet."""
