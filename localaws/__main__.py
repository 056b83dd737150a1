"""`python -m localaws up`: an emulator in the foreground."""

from __future__ import annotations

import argparse
from pathlib import Path

from localaws.launcher import start, until_signalled


def main() -> None:
    """Parse the command line and run the emulator until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m localaws", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start, print the variables to export, stop on Ctrl-C")
    up.add_argument("--region", default="us-east-1")
    up.add_argument("--log-dir", type=Path, help="keep the log there")
    options = parser.parse_args()
    with (
        until_signalled(),
        start(region=options.region, log_dir=options.log_dir) as aws,
    ):
        for name, value in sorted(aws.environment().items()):
            print(f"export {name}='{value}'")
        print(f"# Log: {aws.log_path}. Press Ctrl-C to stop.", flush=True)
        aws.wait()


if __name__ == "__main__":
    main()
