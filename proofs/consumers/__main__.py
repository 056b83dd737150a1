"""Rotate and back out machine users whose consumers are real programs, and count failed calls.

Starts the embedded AWS, deploys the stack with durations of seconds, and ends with status 1 when
a call of a program that follows its secret failed, or something ended otherwise than asked for.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import localaws
from localaws.launcher import until_signalled
from proofs.consumers.report import PAGE, page, summary, table
from proofs.consumers.run import Plan, Result, Run
from proofs.stack.support import PARAMETERS, Stack

ROOT = Path(__file__).parent.parent.parent
INTERRUPTED = 130


def say(line: str) -> None:
    """Print a line of progress."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def measure(plan: Plan) -> Result:
    """Carry the plan out on an embedded AWS of its own."""
    with localaws.start() as aws:
        outputs = localaws.deploy(
            aws, stack_name="keyturn", template=ROOT / "template.yaml", parameters=PARAMETERS
        )
        stack = Stack(aws, outputs)
        say(f"Starting {3 * plan.users} programs of {plan.users} machine users")
        result = Run(stack, plan, say)()
        for check in (stack.assert_nothing_denied, stack.assert_nothing_leaked):
            try:
                check()
            except AssertionError as error:
                result.problems.append(str(error))
        return result


def main(arguments: list[str]) -> int:
    """Run; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m proofs.consumers", description=__doc__)
    parser.add_argument("--rotations", type=int, default=200)
    parser.add_argument("--back-outs", type=int, default=50)
    parser.add_argument("--users", type=int, default=16)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE, too")
    parser.add_argument(
        "--write-docs", action="store_true", help=f"put the figures into {PAGE.name}"
    )
    given = parser.parse_args(arguments)
    plan = Plan(given.rotations, given.back_outs, given.users)

    measured: list[Result] = []
    with until_signalled():
        measured.append(measure(plan))
    if not measured:
        say("Interrupted; everything was stopped.")
        return INTERRUPTED
    result = measured[0]
    sys.stdout.write(f"{summary(result)}\n{table(result)}")
    if given.json:
        given.json.write_text(json.dumps(result.dump(), indent=2) + "\n", encoding="utf-8")
    for shortcoming in result.shortcomings:
        say(f"not as asked for: {shortcoming}")
    if given.write_docs and not result.shortcomings:
        PAGE.write_text(page(PAGE.read_text(encoding="utf-8"), result), encoding="utf-8")
        say(f"wrote {PAGE.relative_to(ROOT)}")
    return 1 if result.shortcomings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
