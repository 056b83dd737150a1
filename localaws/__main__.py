"""`python -m localaws up`: an emulator in the foreground."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from localaws.deploy import deploy
from localaws.errors import LocalAwsError
from localaws.launcher import start, until_signalled


def main() -> None:
    """Parse the command line and run the emulator until Ctrl-C; leave with 1 when it fails."""
    parser = argparse.ArgumentParser(prog="python -m localaws", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    up = commands.add_parser("up", help="start, print the variables to export, stop on Ctrl-C")
    up.add_argument("--region", default="us-east-1")
    up.add_argument("--log-dir", type=Path, help="keep the log there")
    up.add_argument(
        "--deploy", type=Path, metavar="TEMPLATE", help="deploy it as the stack that --stack names"
    )
    up.add_argument("--stack", default="application", help="the stack's name")
    up.add_argument(
        "--parameter", action="append", default=[], metavar="NAME=VALUE", help="one of the stack's"
    )
    options = parser.parse_args()
    try:
        _up(options)
    except LocalAwsError as error:
        print(error, file=sys.stderr)
        sys.exit(1)


def _up(options: argparse.Namespace) -> None:
    with (
        until_signalled(),
        start(region=options.region, log_dir=options.log_dir) as aws,
    ):
        if options.deploy:
            given = dict(pair.split("=", 1) for pair in options.parameter)
            deploy(aws, stack_name=options.stack, template=options.deploy, parameters=given)
        for name, value in sorted(aws.environment().items()):
            print(f"export {name}='{value}'")
        print(f"# Log: {aws.log_path}. Press Ctrl-C to stop.", flush=True)
        aws.wait()


if __name__ == "__main__":
    main()
