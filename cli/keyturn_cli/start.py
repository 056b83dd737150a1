"""`keyturn rotate`, `back-out` and `watch`: start an execution, or find the one to follow."""

from __future__ import annotations

import json
import time
from typing import Any

from keyturn.aws import iam
from keyturn.model.identifiers import masked
from keyturn_cli import aws, output, runs, users, watch
from keyturn_cli.errors import CliError
from keyturn_cli.runs import Run
from keyturn_cli.stack import Stack
from keyturn_cli.words import STATES, WAITS, left

# Until Issue New Key or Take Over has succeeded, an execution can still end with a refusal; from
# Discard New Key it may look again, and be refused then.
_UNDECIDED = frozenset(
    {
        "Check Request",
        "Stop Claimant",
        "Wait Out The Claimant",
        "Issue New Key",
        "Take Over",
        "Wait To Take Over Again",
        "Wait Before Discarding",
        "Discard New Key",
        "Could Not Go On",
        "Announce Outcome",
        "Tell People",
    }
)
# Those of them that can take minutes.
_SLOW = frozenset(
    {
        "Stop Claimant",
        "Wait Out The Claimant",
        "Wait To Take Over Again",
        "Wait Before Discarding",
    }
)


def execute(stack: Stack, request: dict[str, Any]) -> Run:
    """Start RotateKey."""
    started = aws.stepfunctions().start_execution(
        stateMachineArn=stack.rotate_arn,
        input=json.dumps({name: value for name, value in request.items() if value}),
    )
    return Run(started["executionArn"])


def exposed_key(user: str, key_id: str | None) -> str:
    """Return the id of the exposed key: the one named, or the user's only active one.

    Raises:
        CliError: there is no such key, or several are active and none is named.
    """
    keys = iam.list_keys(user).keys
    if key_id:
        if all(key.id != key_id for key in keys):
            raise CliError(f"{user} has no access key {masked(key_id)}; check the id")
        return key_id
    active = [key.id for key in keys if key.active]
    if len(active) != 1:
        raise CliError(
            f"{user} has {len(active) or 'no'} active access keys; name the exposed one with "
            f"--access-key-id (keyturn status {user} --json shows the whole ids)"
        )
    return active[0]


def report_beginning(run: Run, prefix: str, *, as_json: bool) -> int:
    """Wait until a start has been accepted or refused; return the exit status.

    What takes hours then goes on by itself. A refusal comes within seconds, and within minutes
    where another execution has to be stopped first.
    """
    if not as_json:
        print(f"started {run.arn}", flush=True)
    try:
        with watch.left_alone(run):
            seen = watch.follow(
                lambda so_far: watch.Seen(runs.fetch(so_far), watch.clock()),
                run,
                Beginning(),
                until=lambda found: not found.running or _is_under_way(found),
            )
    except KeyboardInterrupt:
        output.note(f"left; the execution goes on. See it: keyturn watch {run.arn}")
        return 130
    now = seen.run
    if as_json:
        output.print_json(watch.as_json(seen))
    elif now.running:
        print(f"{now.why or 'under way'}\nFollow it: keyturn watch {now.user_name}")
    else:
        print(f"{now.outcome}: {now.reason}")
    return 0 if now.running or now.status == "SUCCEEDED" else 1


class Beginning:
    """Tells on standard error what a start waits for, when that is more than a moment."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def show(self, seen: watch.Seen) -> None:
        """Say it once for each state that takes long."""
        here = seen.run.here
        if here is None or not seen.run.running or here.state not in _SLOW - self._told:
            return
        self._told.add(here.state)
        what = WAITS.get(here.state) or STATES[here.state]
        until = seen.run.next_look_at
        output.note(f"{here.state}: {what}{f'; goes on {left(until, seen.now)}' if until else ''}")

    def wait(self, seconds: float) -> None:
        """Sleep; shorter at first, because most starts are accepted or refused within seconds."""
        time.sleep(1.0 if seconds < watch.LOOK_MAX_SECONDS else seconds)


def _is_under_way(run: Run) -> bool:
    return run.here is not None and run.here.state not in _UNDECIDED


def find_run(stack: Stack, subject: str) -> Run:
    """Return the run of an execution's ARN, or the one that works (or last worked) on a user.

    Raises:
        CliError: nothing was ever started for this user.
    """
    if subject.startswith("arn:"):
        if ":execution:" not in subject:
            raise CliError(f"{subject} is not the ARN of an execution")
        return Run(subject)
    found = users.look(subject, stack)
    arn = found.execution_arn or found.last_execution_arn
    if arn is None:
        raise CliError(
            f"no execution has worked on {subject} yet; start one: keyturn rotate {subject}"
        )
    if found.execution_arn is None:
        output.note(f"nothing is running for {subject}; this is the last execution")
    return Run(arn)
