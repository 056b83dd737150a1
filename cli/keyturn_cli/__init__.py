"""The operator's command: starts rotations and back-outs of a deployed stack."""
