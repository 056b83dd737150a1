"""`keyturn status`: every managed user on one line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import ClientError
from rich.progress import Progress
from rich.table import Table

from keyturn.aws import calls, iam, secrets
from keyturn.model.errors import AwsRefused, AwsThrottled, KeyturnError
from keyturn.model.identifiers import key_of_version, masked
from keyturn.model.world import Key, Label, LastResult, SecretState, is_managed
from keyturn.rotate import snapshot
from keyturn_cli import aws, output, runs, users
from keyturn_cli.errors import explain
from keyturn_cli.runs import Run
from keyturn_cli.stack import Stack
from keyturn_cli.words import ago, days

_SIDE_BY_SIDE = 8
"""How many users are asked about at once: IAM throttles who asks for more."""


@dataclass(frozen=True)
class Listed:
    """A secret under the prefix, as ListSecrets shows it."""

    user: str
    arn: str
    labels: dict[str, str]
    last: LastResult | None
    offboarded: bool = False


@dataclass(frozen=True)
class Row:
    """One user's line. `trouble` says why something could not be found out."""

    user: str
    keys: tuple[Key, ...] = ()
    current_key: str | None = None
    last: LastResult | None = None
    in_flight: bool = False
    run: Run | None = None
    trouble: str = ""
    offboarded: bool = False


def listed(stack: Stack) -> list[Listed]:
    """Return the secrets under the prefix, by user; not those that are deleted."""
    found = [
        Listed(
            user=secret.name.removeprefix(stack.prefix),
            arn=secret.arn,
            labels=dict(secret.labels),
            last=secret.last_result,
            offboarded=secret.offboarded,
        )
        for secret in secrets.listed(stack.prefix)
        if not secret.scheduled_for_deletion
    ]
    return sorted(found, key=lambda secret: secret.user)


def passed_over(one: Listed, managed: Callable[[str], bool]) -> bool:
    """Whether a user was offboarded, and is neither claimed nor managed again all the same.

    `managed` is asked about marked secrets only: it takes a call for each.
    """
    return one.offboarded and Label.CLAIM not in one.labels and not managed(one.user)


def _managed_again(stack: Stack) -> Callable[[str], bool]:
    """Return what tells whether the stack may touch a user; what is not known counts as yes."""
    try:
        settings = stack.settings()
    except (ClientError, KeyturnError) as error:
        output.note(f"{explain(error)}; so all who are marked offboarded are shown")
        return lambda _: True

    def managed(user: str) -> bool:
        try:
            found = iam.get_user(user)
        except (AwsRefused, AwsThrottled):
            return True
        return found is not None and is_managed(found, settings)

    return managed


def row(secret: Listed) -> Row:
    """Look at one user; what cannot be found out is said, not guessed."""
    current = secret.labels.get(Label.CURRENT)
    base = Row(
        user=secret.user,
        current_key=key_of_version(current) if current else None,
        last=secret.last,
        in_flight=Label.CLAIM in secret.labels,
        offboarded=secret.offboarded,
    )
    try:
        keys = iam.list_keys(secret.user).keys
        run = _run_of(secret) if base.in_flight else None
    except (AwsRefused, AwsThrottled, ClientError) as error:
        what = str(error)
        if "NoSuchEntity" in what:
            what = "the IAM user does not exist any more"
        return Row(**{**vars(base), "trouble": what})
    return Row(**{**vars(base), "keys": keys, "run": run})


def _run_of(secret: Listed) -> Run | None:
    intent = snapshot.read_intent(secret.arn, secret.labels[Label.CLAIM])
    return runs.glance(intent.execution_arn) if intent else None


def of_one(stack: Stack, user: str) -> Row:
    """Return the row of one user, who need not have a secret."""
    found = users.look(user, stack)
    secret = found.secret
    arn = found.execution_arn
    return Row(
        user=user,
        keys=found.keys,
        current_key=secret.key(Label.CURRENT) if secret else None,
        last=found.last_result,
        in_flight=bool(secret and secret.version(Label.CLAIM)),
        run=runs.glance(arn) if arn else None,
        trouble=_no_secret(secret),
        offboarded=bool(secret and secret.offboarded),
    )


def _no_secret(secret: SecretState | None) -> str:
    if secret is None:
        return "there is no secret yet: keyturn onboard makes it"
    return "the secret is scheduled for deletion" if secret.scheduled_for_deletion else ""


def of_all(stack: Stack) -> list[Row]:
    """Return all rows by name, with progress on a terminal."""
    found = listed(stack)
    marked = any(one.offboarded for one in found)
    managed = _managed_again(stack) if marked else lambda _: True

    def look(one: Listed) -> Row | None:
        return None if passed_over(one, managed) else row(one)

    for client in (calls.iam, calls.secretsmanager, aws.stepfunctions):
        client()  # made before the threads, because a session is not theirs to share
    with ThreadPoolExecutor(_SIDE_BY_SIDE) as pool:
        rows = _counted(pool.map(look, found), len(found))
        return [one for one in rows if one is not None]


def _counted(rows: Iterable[Row | None], total: int) -> Iterator[Row | None]:
    console = output.to_people()
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("Looking at the users", total=total)
        for one in rows:
            progress.advance(task)
            yield one


def summary(one: Row, now: datetime) -> tuple[str, str, str, str, str]:
    """Return a row's words: user, keys, last use, last result, what is going on."""
    keys = "\n".join(
        f"{masked(key.id)}{'' if key.active else ' inactive'} {days(now - key.created_at)} d"
        for key in one.keys
    )
    uses = [key.last_use for key in one.keys if key.last_use]
    use = max(uses, key=lambda seen: seen.at, default=None)
    last = f"{one.last.outcome} {ago(one.last.at, now)}" if one.last else "none yet"
    return (
        one.user,
        keys or ("?" if one.trouble and not one.keys else "no key"),
        f"{ago(use.at, now)} ({use.service})" if use else "never",
        last,
        (one.trouble or _going_on(one)) + _offboarded(one),
    )


def _offboarded(one: Row) -> str:
    if not one.offboarded:
        return ""
    return f"; offboarded, so fleet runs pass it over: keyturn onboard {one.user} takes it in again"


def _going_on(one: Row) -> str:
    if not one.in_flight:
        return "at rest"
    if one.run is None:
        return "claimed by somebody else's work"
    if not one.run.running:
        return f"its execution ended {one.run.status} without deciding; start ROTATE or BACK_OUT"
    here = one.run.here.state if one.run.here else "beginning"
    return f"{here}: {one.run.waits_for}" if one.run.waits_for else here


def as_json(one: Row) -> dict[str, Any]:
    """Return a row as JSON, with whole key ids."""
    run = one.run
    return {
        "userName": one.user,
        "keys": [
            users.key_json(key, "current" if key.id == one.current_key else "") for key in one.keys
        ],
        "lastResult": one.last.outcome if one.last else None,
        "lastResultAt": one.last.at if one.last else None,
        "inFlight": one.in_flight,
        "executionArn": run.arn if run else None,
        "executionStatus": run.status if run else None,
        "state": run.here.state if run and run.here else None,
        "waitsFor": (run.waits_for or None) if run else None,
        "nextLookAt": run.next_look_at if run else None,
        "trouble": one.trouble or None,
        "offboarded": one.offboarded,
    }


def show(rows: Sequence[Row]) -> None:
    """Print the table for people."""
    now = datetime.now(UTC)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("USER", "KEYS (AGE)", "LAST USED", "LAST RESULT", "NOW"):
        table.add_column(title, overflow="fold")
    for one in rows:
        table.add_row(*summary(one, now))
    output.console().print(table)
