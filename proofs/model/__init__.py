"""An explicit-state model of the protocol: every reachable state of a small world is looked at."""

from __future__ import annotations

import sys
from pathlib import Path

# `python -m proofs.model` has no pytest to put the Lambda package on the path.
_FUNCTIONS = str(Path(__file__).resolve().parents[2] / "functions")
if _FUNCTIONS not in sys.path:
    sys.path.append(_FUNCTIONS)
