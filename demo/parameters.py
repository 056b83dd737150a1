"""The stack's parameters where a rotation is to take seconds: in the demo and `keyturn local`."""

from __future__ import annotations

import platform

# Days become seconds; nothing else differs from production, and the code cannot tell.
PARAMETERS = {
    "ManagedTagValue": "demo",
    "PickupTimeoutSeconds": "60",
    "QuietPeriodSeconds": "4",
    "LastUsedCoarsenessSeconds": "1",
    "LastUsedLagSeconds": "1",
    "WatchSeconds": "16",  # longer than the straggler's interval, as it must be in production
    "BackoutGraceSeconds": "4",
    "RetentionSeconds": "0",
    "PollMinSeconds": "1",
    "PollMaxSeconds": "2",
    "FenceSeconds": "2",
    "AllowPrivateHealthUrls": "true",
    "FunctionArchitecture": "arm64" if platform.machine() in ("arm64", "aarch64") else "x86_64",
}
