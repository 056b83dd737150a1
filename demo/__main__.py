"""`python -m demo`: two rotations on an embedded AWS, in front of your eyes."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import time
from http import HTTPStatus
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError
from rich.text import Text

from demo.model import Kind, Moment, UserSeen, masked
from demo.scene import QUIET_SECONDS, STRAGGLER, Scene, staged
from demo.verdict import Verdict, judge
from demo.view import PlainView, View, suitable_view, summary
from demo.watch import Watcher
from localaws import LocalAwsError

LOOK_SECONDS = 0.3
# A run takes about 35 seconds.
PATIENCE_SECONDS = 100.0
# After the last key was switched off, errors still have a chance to show.
AFTERMATH_SECONDS = 2.0
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

INTRODUCTION = f"""\
Keyturn changes the access keys of two machine users while their programs work.
Everything runs on this computer: no AWS account is needed, nothing leaves it.

  storefront  Its program storefront-web re-reads its secret, as it should.
              The rotation must end ROTATED, without one failed call.
  reporting   So does reporting-web, but {STRAGGLER.name} never does. It calls
              every {STRAGGLER.interval_seconds:g} s only: its key looks quiet, and is switched off.
              Keyturn must notice, go back to the old key, and end BACKED_OUT.

Days are shrunk to seconds here ({QUIET_SECONDS} s without a call count as quiet).
Keys are shown by their last four characters.
"""

NEXT = """\
What next:
  README.md                          how to deploy this and rotate a real key
  .venv/bin/python -m localaws up    the same AWS, for your own experiments
  statemachine/rotate_key.asl.json   the states that you have just watched
"""


class Stopped(BaseException):
    """A signal asks the demo to end; not an Exception, so that nothing swallows it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def main(arguments: list[str] | None = None) -> int:
    """Run the demo and return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("--log-dir", type=Path, help="keep the embedded AWS's log there")
    options = parser.parse_args(arguments)
    _stop_on_signals()
    try:
        return run(suitable_view(), options.log_dir)
    except Stopped as stopped:
        print("\ndemo: stopped; nothing is left running", flush=True)
        return 128 + stopped.number
    except (LocalAwsError, ClientError, BotoCoreError) as error:
        print(f"demo: failed: {error}", file=sys.stderr)
        return 1
    except FileNotFoundError as error:
        print(f"demo: failed: {error.filename} is missing; run 'make setup'", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader went away, as in `make demo | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def run(view: View, log_dir: Path | None = None) -> int:
    """Run the demo in a view and return its exit status: 1 if it is not as promised."""
    print(INTRODUCTION, flush=True)
    set_up = time.monotonic()
    with contextlib.ExitStack() as stack:
        try:
            scene = stack.enter_context(staged(view.step, log_dir=log_dir))
            view.console.print(f"set-up took {time.monotonic() - set_up:.1f} s\n")
            verdict = _play(scene, view)
        finally:
            _ignore_signals()  # what follows ends everything; it must not be interrupted
            view.end()
    _tell(verdict, view)
    return 1 if verdict.differences else 0


def _play(scene: Scene, view: View) -> Verdict:
    watcher = Watcher(scene)
    began = time.time()
    view.begin(began)
    scene.start_rotations()
    started = [Moment(began, user.role.name, _opening(user), Kind.STATE) for user in scene.users]
    view.show(started, scene.users)
    settled_since: float | None = None
    while time.time() - began < PATIENCE_SECONDS:
        view.show(watcher.look(), scene.users)
        dead = [name for name, process in scene.processes.items() if not process.alive]
        if dead:
            raise LocalAwsError(f"consumers ended by themselves: {', '.join(dead)}")
        if not _settled(scene):
            settled_since = None
        elif settled_since is None:
            settled_since = time.time()
        elif time.time() - settled_since >= AFTERMATH_SECONDS:
            break
        time.sleep(LOOK_SECONDS)
    took = time.time() - began
    scene.stop_consumers()
    view.show(watcher.look(), scene.users)  # their last words
    verdict = judge(scene.users, {user.role.name: scene.current_key(user) for user in scene.users})
    view.end()
    view.console.print()
    view.console.print(summary(scene.users, began, plain=isinstance(view, PlainView)))
    view.console.print(f"Set-up aside, this took {took:.0f} s.\n")
    for user in scene.users:
        view.console.print("\n".join(_in_words(user)), soft_wrap=True)
    view.console.print()
    return verdict


def _in_words(user: UserSeen) -> list[str]:
    """Say what the end means for the user's programs."""
    lines = []
    for consumer in user.consumers:
        name, key = consumer.role.name, masked(consumer.access_key_id)
        if not consumer.errors:
            lines.append(f"{name} made {consumer.calls} calls, none failed; it uses {key}.")
        elif consumer.failing_since is None:
            lines.append(
                f"{name} lost {consumer.errors} of {consumer.calls + consumer.errors} calls and "
                f"works again, with {key}."
            )
            lines.append("  Next: make it re-read its secret, then start the rotation again.")
        else:
            lines.append(f"{name} lost {consumer.errors} calls and still fails with {key}.")
    return lines


def _opening(user: UserSeen) -> str:
    return f"rotation starts: key {masked(user.old_key)} is {user.role.key_age_days} days old"


def _settled(scene: Scene) -> bool:
    """Whether there is nothing more to wait for: all ended, and who was cut off works again."""
    if not all(user.ended for user in scene.users):
        return False
    if any(user.ended and user.ended.outcome != user.role.outcome for user in scene.users):
        return True  # it went wrong already: waiting for the recovery would only hide that
    return all(
        consumer.recovered_at is not None and consumer.health == HTTPStatus.OK
        for user in scene.users
        for consumer in user.consumers
        if not consumer.role.well_behaved
    )


def _tell(verdict: Verdict, view: View) -> None:
    if verdict.differences:
        view.console.print(Text("This is not what the demo promises:", style="bold red"))
        for difference in verdict.differences:
            view.console.print(Text(f"  - {difference}", style="red"), soft_wrap=True)
        view.console.print("To see more, run again with --log-dir DIRECTORY.\n")
    print(NEXT)
    view.console.print(verdict.line, soft_wrap=True)


def _stop_on_signals() -> None:
    def stop(number: int, _: object) -> None:
        _ignore_signals()  # one is enough: what follows ends everything
        raise Stopped(number)

    for number in SIGNALS:
        if number == signal.SIGINT or signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, stop)


def _ignore_signals() -> None:
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


if __name__ == "__main__":
    sys.exit(main())
