"""Runs a Python program as on a machine that has boto3 and nothing else of its kind.

    python lean.py PROGRAM ARGUMENT...

The environment of the tests has more: botocore imports the CRT and pyOpenSSL where it finds them,
which is half of what starting a process costs, and many start here.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    for found in ("awscrt", "OpenSSL"):
        sys.modules[found] = None  # type: ignore[assignment] # imports as if it were missing
    del sys.argv[0]
    sys.path[0] = str(Path(sys.argv[0]).parent)
    runpy.run_path(sys.argv[0], run_name="__main__")
