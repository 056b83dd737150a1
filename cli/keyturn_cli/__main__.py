"""Where `keyturn` begins. `keyturn credentials` goes a short way of its own: SDKs wait for it."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:  # python cli/keyturn_cli, from the repository
    _cli = Path(__file__).resolve().parent.parent
    sys.path[0:1] = [str(_cli), str(_cli.parent / "functions"), str(_cli.parent)]


def main() -> None:
    """Run the command and leave with its exit status."""
    if sys.argv[1:2] == ["credentials"] and not {"--help", "-h"} & set(sys.argv):
        # Neither Typer nor boto3: an SDK waits for the answer, time and again.
        from keyturn_cli import credentials  # noqa: PLC0415

        sys.exit(credentials.main(sys.argv[2:]))
    from keyturn_cli.app import app  # noqa: PLC0415 - for the same reason

    # A shell that starts a command in the background has Ctrl-C ignored in it, for good.
    signal.signal(signal.SIGINT, signal.default_int_handler)

    app(prog_name="keyturn")


if __name__ == "__main__":
    main()
