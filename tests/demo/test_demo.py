"""The demo as a person runs it: without a terminal, in a terminal, and interrupted."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from demo.model import ConsumerRole, ConsumerSeen, Ended, UserRole, UserSeen
from demo.verdict import judge
from demo.watch import heard
from localaws.consumer import Counts
from proofs.stack.support import eventually
from tests.localaws.test_launcher import alive, children_of, linux

ROOT = Path(__file__).parent.parent.parent
COMMAND = [sys.executable, "-m", "demo"]
OLD, NEW = "AKIAOLDOLDOLDOLD0001", "AKIANEWNEWNEWNEW0002"


@pytest.mark.emulator
@pytest.mark.slow
@pytest.mark.xdist_group("demo")
def test_the_demo_keeps_its_promise() -> None:
    done = subprocess.run(
        COMMAND, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False
    )
    output = done.stdout
    assert done.returncode == 0, output + done.stderr
    assert done.stderr == ""
    assert output.endswith("\ndemo: rotated=1 backed_out=1 well_behaved_errors=0\n")
    took = re.search(r"Set-up aside, this took (\d+) s", output)
    assert took is not None
    assert int(took[1]) < 60
    in_order(
        output,
        "no AWS account is needed",
        "[Wait For Consumers]",
        "health turned bad",
        "s after its key was deactivated",
        "BACK-OUT: the health URL was bad",
        "back-out: old key",
        "[Rotation Backed Out] the execution FAILED: BACKED_OUT",
        "What next",
    )
    in_order(output, "back-out: old key", "RECOVERED", "s after its return", "What next")
    assert "[Rotated] the execution SUCCEEDED: ROTATED" in output
    assert "\x1b" not in output
    assert secrets_in(output) == []
    assert re.findall(r"A[KS]IA[A-Z0-9]{8,}", output) == []


def in_order(output: str, *texts: str) -> None:
    """Assert that the texts occur, each after the one before."""
    position = 0
    for text in texts:
        found = output.find(text, position)
        assert found >= 0, f"{text!r} is missing, or too early, in:\n{output}"
        position = found


def secrets_in(output: str) -> list[str]:
    """Return what looks like a secret access key."""
    return re.findall(r"(?<![A-Za-z0-9/+=])[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+=])", output)


class Terminal:
    """The demo in a pseudo-terminal of 80 by 24."""

    def __init__(self, **environment: str) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        cleared = {
            name: value
            for name, value in os.environ.items()
            if name not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES")
        }
        self.process = subprocess.Popen(
            COMMAND,
            cwd=ROOT,
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env=cleared | {"TERM": "xterm-256color"} | environment,
            # Ctrl-C reaches the processes of the terminal's foreground group.
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509
        )
        os.close(slave)
        self.output = ""

    def until(self, text: str, *, within_seconds: float = 60) -> None:
        """Read until the text has appeared."""
        ends = time.monotonic() + within_seconds
        while text not in self.output:
            assert time.monotonic() < ends, f"{text!r} did not appear in:\n{self.output}"
            self._read()

    def press_ctrl_c(self) -> None:
        """Type Ctrl-C."""
        os.write(self._master, b"\x03")

    def status(self) -> int:
        """Read to the end and return the exit status."""
        while self._read():
            pass
        os.close(self._master)
        return self.process.wait(30)

    def _read(self) -> bool:
        try:
            data = os.read(self._master, 65536)
        except OSError:  # Linux: the last process of the terminal is gone
            return False
        self.output += data.decode(errors="replace")
        return bool(data)


@linux
@pytest.mark.emulator
@pytest.mark.parametrize(
    ("text", "environment"),
    [("machine user reporting", {}), ("deploying template.yaml", {"NO_COLOR": "1"})],
)
def test_ctrl_c_in_a_terminal_leaves_nothing_behind(text: str, environment: dict[str, str]) -> None:
    terminal = Terminal(**environment)
    terminal.until(text)
    processes = children_of(terminal.process.pid)
    assert processes
    terminal.press_ctrl_c()
    assert terminal.status() == 130
    assert "demo: stopped; nothing is left running" in terminal.output
    assert "Traceback" not in terminal.output
    assert [pid for pid in processes if alive(pid)] == []
    assert terminal.output.count("\x1b[?25l") <= terminal.output.count("\x1b[?25h")  # the cursor
    colours = re.findall(r"\x1b\[(?:\d+;)*(?:3\d|9\d)m", terminal.output)
    assert bool(colours) is not bool(environment)


@linux
@pytest.mark.emulator
@pytest.mark.parametrize("death", [signal.SIGTERM, signal.SIGKILL])
def test_its_death_leaves_nothing_behind(death: signal.Signals) -> None:
    with subprocess.Popen(COMMAND, cwd=ROOT, stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if "rotation starts" in line:
                break
        processes = children_of(demo.pid)
        assert len(processes) > 4
        demo.send_signal(death)
        last = demo.stdout.read()
        status = demo.wait(30)
    if death == signal.SIGTERM:
        assert status == 128 + death
        assert last.endswith("demo: stopped; nothing is left running\n")
        assert [pid for pid in processes if alive(pid)] == []
    eventually(lambda: not any(map(alive, processes)), within_seconds=10)


def polite(**changes: object) -> ConsumerSeen:
    role = ConsumerRole(name="web", interval_seconds=1, refresh_seconds=1)
    return seen(role, {"access_key_id": NEW, "calls": 9} | changes)


def seen(role: ConsumerRole, fields: dict[str, object]) -> ConsumerSeen:
    consumer = ConsumerSeen(role, OLD)
    for name, value in fields.items():
        setattr(consumer, name, value)
    return consumer


def rotated(consumer: ConsumerSeen, **changes: object) -> UserSeen:
    role = UserRole(
        name="shop",
        key_age_days=100,
        consumers=(consumer.role,),
        outcome="ROTATED",
        status="SUCCEEDED",
    )
    user = UserSeen(role, OLD, "v1", [consumer])
    user.keys = {OLD: "Inactive", NEW: "Active"}
    user.ended = Ended("SUCCEEDED", "", {"outcome": "ROTATED"})
    for name, value in changes.items():
        setattr(user, name, value)
    return user


def test_a_good_end_has_no_differences() -> None:
    verdict = judge([rotated(polite())], {"shop": NEW})
    assert verdict.differences == ()
    assert verdict.line == "demo: rotated=1 backed_out=0 well_behaved_errors=0"


@pytest.mark.parametrize(
    ("user", "current", "expected"),
    [
        (rotated(polite(), ended=None), NEW, "shop: the rotation had not ended"),
        (
            rotated(polite(), ended=Ended("FAILED", "AttentionNeeded", {"reason": f"see {OLD}"})),
            NEW,
            "shop: ended FAILED (FAILED) instead of ROTATED (SUCCEEDED): see ...0001",
        ),
        (rotated(polite(), keys={OLD: "Active", NEW: "Active"}), NEW, "shop: the key ...0001 is A"),
        (rotated(polite(), keys={OLD: "Active"}), NEW, "shop: there is no new key"),
        (rotated(polite(), labels={"CLAIM": "intent"}), NEW, "shop: the claim is still held"),
        (rotated(polite()), OLD, "shop: AWSCURRENT holds ...0001 instead of ...0002"),
        (rotated(polite(errors=2, last_error="X")), NEW, "web: 2 calls failed (X)"),
        (rotated(polite(access_key_id=OLD)), NEW, "web: signs with ...0001, not AWSCURRENT"),
    ],
)
def test_every_broken_promise_is_a_difference(user: UserSeen, current: str, expected: str) -> None:
    found = judge([user], {"shop": current}).differences
    assert any(difference.startswith(expected) for difference in found), found


def test_a_straggler_must_have_been_cut_off_and_have_recovered() -> None:
    role = ConsumerRole(name="night", interval_seconds=9, refresh_seconds=None)
    straggler = ConsumerSeen(role, NEW, calls=1)
    user = rotated(straggler)
    assert "never cut off" in judge([user], {"shop": NEW}).differences[0]
    heard(user, straggler, 10, Counts(calls=1, errors=1, last_error="Gone", access_key_id=NEW))
    assert "still fail (Gone)" in judge([user], {"shop": NEW}).differences[0]
    moments = heard(
        user, straggler, 20, Counts(calls=2, errors=1, last_error="Gone", access_key_id=NEW)
    )
    assert [moment.text.split(":")[0] for moment in moments] == ["RECOVERED"]
    assert judge([user], {"shop": NEW}).differences == ()
