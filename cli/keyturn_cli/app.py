"""`keyturn`: the commands and their options. What they do is in the modules beside this one."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Annotated

import typer
from typer.models import CommandInfo

from keyturn.audit.model import Severity, Thresholds, Unavailable
from keyturn.model.identifiers import masked
from keyturn.rotate.decision import Step
from keyturn_cli import (
    audit,
    credentials,
    local,
    onboard,
    output,
    plan,
    stack,
    start,
    status,
    watch,
)
from keyturn_cli.aws import Target
from keyturn_cli.options import (
    Debug,
    Endpoint,
    Json,
    Region,
    User,
    Yes,
    assert_together,
    guarded,
    on_a_stack,
)
from keyturn_cli.runs import Run

app = typer.Typer(
    name="keyturn",
    epilog="Exit status: 0 all went well, 1 it ended otherwise (or findings, or declined), "
    "2 a wrong option, an AWS error, or something to be mended first, 130 left with Ctrl-C.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Reason = Annotated[str, typer.Option(help="Why; it becomes part of the result.")]
Watch = Annotated[bool, typer.Option("--watch", "-w", help="Follow it to its end.")]
Wait = Annotated[
    bool,
    typer.Option(
        "--wait/--no-wait",
        help="Wait until it was accepted or refused: seconds, or minutes where another execution "
        "has to be stopped first.",
    ),
]
Emergency = Annotated[
    bool,
    typer.Option(
        "--emergency",
        help="The key is exposed: deactivate it at once, wait for nobody, never bring it back.",
    ),
]
Force = Annotated[
    bool,
    typer.Option(
        "--force", help="Also a young or unused key, or one of a user with a console password."
    ),
]
KeyId = Annotated[
    str | None,
    typer.Option("--access-key-id", help="The exposed key, when the user has two active ones."),
]


def _show_version(wanted: bool) -> None:
    if wanted:
        try:
            installed = metadata.version("keyturn")
        except metadata.PackageNotFoundError:
            installed = "not installed, run from its repository"
        typer.echo(f"keyturn {installed}")
        raise typer.Exit


@app.callback()
def main(
    *,
    _version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Rotate the access keys of IAM machine users, see how they stand, and undo it."""


@app.command()
@on_a_stack
def rotate(
    user: User,
    *,
    emergency: Emergency = False,
    access_key_id: KeyId = None,
    force: Force = False,
    reason: Reason = "",
    watch_it: Watch = False,
    wait: Wait = True,
    yes: Yes = False,
    as_json: Json = False,
    at: Target,
) -> int:
    """Rotate the access key of USER.

    The work is done by Step Functions and takes from hours to days; this command only starts it.
    Without --watch it returns as soon as the request was accepted (0) or refused (1).
    """
    assert_together("--access-key-id", access_key_id, "--emergency", emergency)
    found = stack.find(at.stack_name)
    request: dict[str, object] = {"userName": user, "force": force, "reason": reason}
    if emergency:
        key = start.exposed_key(user, access_key_id)
        output.confirm(
            f"The key {masked(key)} of {user} is deactivated as soon as another one is "
            "stored; consumers that are not on that one then fail. Go on?",
            yes=yes,
        )
        request |= {"mode": "EMERGENCY", "accessKeyId": key}
    return _started(found, request, watch_it=watch_it, wait=wait, as_json=as_json)


@app.command()
@on_a_stack
def back_out(
    user: User,
    *,
    reason: Reason = "",
    watch_it: Watch = False,
    wait: Wait = True,
    as_json: Json = False,
    at: Target,
) -> int:
    """Undo the rotation of USER: go back to the old key.

    A rotation that is running is stopped first. One that has ended can be undone as long as its
    old key is kept.
    """
    found = stack.find(at.stack_name)
    request: dict[str, object] = {"userName": user, "action": "BACK_OUT", "reason": reason}
    return _started(found, request, watch_it=watch_it, wait=wait, as_json=as_json)


def _started(
    found: stack.Stack, request: dict[str, object], *, watch_it: bool, wait: bool, as_json: bool
) -> int:
    run = start.execute(found, request)
    if watch_it:
        return watch.to_the_end(run, found.prefix, json=as_json)
    if wait:
        return start.report_beginning(run, found.prefix, as_json=as_json)
    if as_json:
        output.print_json({"executionArn": run.arn})
    else:
        print(f"started {run.arn}")
    return 0


@app.command("watch")
@on_a_stack
def watch_command(
    subject: Annotated[
        str, typer.Argument(metavar="USER|EXECUTION", help="An IAM user, or an execution's ARN.")
    ],
    *,
    as_json: Json = False,
    at: Target,
) -> int:
    """Follow the work on a user, or one execution, to its end.

    Leaves with 0 when the execution succeeded and with 1 when not. On Ctrl-C, or when the terminal
    is lost, the execution goes on. Without a terminal: a line for each change.
    """
    found = stack.find(at.stack_name)
    run: Run = start.find_run(found, subject)
    return watch.to_the_end(run, found.prefix, json=as_json)


@app.command("status")
@on_a_stack
def status_command(
    user: Annotated[str | None, typer.Argument(metavar="[USER]", help="Only this user.")] = None,
    *,
    as_json: Json = False,
    at: Target,
) -> None:
    """Show how every managed user stands, on one line each: keys, last use, last result, now."""
    found = stack.find(at.stack_name)
    rows = [status.of_one(found, user)] if user else status.of_all(found)
    if as_json:
        output.print_json({"users": [status.as_json(row) for row in rows]})
    elif not rows:
        print(f"No secret is named {found.prefix}*; begin with: keyturn onboard USER")
    else:
        status.show(rows)


@app.command("plan")
@on_a_stack
def plan_command(
    user: User,
    *,
    emergency: Emergency = False,
    access_key_id: KeyId = None,
    force: Force = False,
    back_out: Annotated[bool, typer.Option("--back-out", help="Plan a back-out instead.")] = False,
    as_json: Json = False,
    at: Target,
) -> int:
    """Tell what a rotation of USER would do now, and why; nothing is changed.

    Leaves with 1 when it would be rejected.
    """
    assert_together("--access-key-id", access_key_id, "--emergency", emergency)
    found = stack.find(at.stack_name)
    request: dict[str, object] = {"force": force}
    if back_out:
        request["action"] = "BACK_OUT"
    if emergency:
        request |= {"mode": "EMERGENCY", "accessKeyId": start.exposed_key(user, access_key_id)}
    made = plan.make(found, user, request)
    if as_json:
        output.print_json(plan.as_json(made))
    else:
        plan.show(made)
    return 1 if made.step is Step.REJECT else 0


@app.command("audit")
@on_a_stack
def audit_command(
    more: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FILE]...", help="More downloaded reports.", show_default=False),
    ] = None,
    *,
    report: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Audit this downloaded credential report (CSV), not the account; any number.",
        ),
    ] = None,
    made_at: Annotated[
        datetime | None,
        typer.Option("--at", help="When the reports were made (UTC); else the files' dates count."),
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the report as one HTML page.")
    ] = None,
    csv: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the findings as CSV.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIRECTORY",
            help="Write report.json, findings.csv, keys.csv and report.html there.",
        ),
    ] = None,
    as_json: Json = False,
    fail_on: Annotated[
        Severity | None,
        typer.Option(
            case_sensitive=False, help="Leave with 1 when a finding is as bad as this, or worse."
        ),
    ] = None,
    fail_on_unknown: Annotated[
        bool,
        typer.Option("--fail-on-unknown", help="Count what could not be judged as findings, too."),
    ] = False,
    max_key_age_days: Annotated[
        int | None, typer.Option(min=1, help="Else the stack's MaxKeyAgeDays, or 90.")
    ] = None,
    unused_after_days: Annotated[
        int | None, typer.Option(min=1, help="Else the stack's UnusedAfterDays, or 90.")
    ] = None,
    at: Target,
) -> int:
    """Audit the credentials of the account, or of downloaded reports of many accounts.

    The rules are those of docs/audit.md. Nothing is changed; without --report IAM is asked to make
    a credential report. Without the account's stack it is not known who is managed.
    """
    assert_together("--fail-on-unknown", fail_on_unknown, "--fail-on", fail_on)
    wanted = audit.Wanted(html=html, csv=csv, directory=out, json=as_json)
    paths = [*(report or ()), *(more or ())]
    assert_together("--at", made_at, "--report", paths)
    with audit.progress() as shown:
        task = shown.add_task("Auditing", total=audit.assert_readable(paths) or None)
        found = None if paths else _stack_if_any(at)
        base = found.thresholds() if isinstance(found, stack.Stack) else Thresholds()
        thresholds = Thresholds(
            max_key_age_days=max_key_age_days or base.max_key_age_days,
            unused_after_days=unused_after_days or base.unused_after_days,
        )
        if found is None:
            moment = made_at.replace(tzinfo=UTC) if made_at else None
            sources = audit.of_files(paths, moment, advance=lambda size: shown.advance(task, size))
        else:
            settings = found.settings() if isinstance(found, stack.Stack) else found
            source = audit.of_account(
                settings, say=lambda text: shown.update(task, description=text)
            )
            sources = iter([source])
        judged, worst = audit.run(sources, thresholds, wanted)
    if not as_json:
        audit.show(judged, worst)
    failing = audit.failing(judged, fail_on, unknown=fail_on_unknown)
    if failing and fail_on:
        output.note(f"findings that are {fail_on.value} or worse: {failing}")
    return 1 if failing else 0


def _stack_if_any(at: Target) -> stack.Stack | Unavailable:
    try:
        return stack.find(at.stack_name)
    except stack.NoStack as none:
        output.note(f"{none}. Without it, it is not known who is managed")
        return Unavailable(str(none).partition("; ")[0])


@app.command("credentials")
def credentials_command(
    user: User,
    *,
    interval: Annotated[
        float, typer.Option(help="SDKs look for another key so often, in seconds.")
    ] = 300.0,
    account: Annotated[
        str | None,
        typer.Option(
            metavar="ID",
            help="The user's account, where users of several accounts have the same name: the "
            "keys are then kept in keyturn/ID/USER.json.",
        ),
    ] = None,
    key_file: Annotated[
        Path | None,
        typer.Option(
            help="Where the last two good keys are kept (mode 0600); else "
            "keyturn/USER.json below XDG_CACHE_HOME or ~/.cache."
        ),
    ] = None,
    reader_profile: Annotated[
        str | None,
        typer.Option(help="Read the secret with this profile instead of the user's own key."),
    ] = None,
    first_key: Annotated[
        bool,
        typer.Option(
            "--first-key",
            help="Keep the key on standard input, a JSON object with AccessKeyId and "
            "SecretAccessKey, and end.",
        ),
    ] = False,
    secret_name_prefix: Annotated[
        str, typer.Option(help="The stack's SecretNamePrefix.")
    ] = credentials.PREFIX,
    secret_name: Annotated[
        str | None, typer.Option(help="Another secret than PREFIX/USER.")
    ] = None,
    region: Region = None,
    endpoint_url: Endpoint = None,
    debug: Debug = False,
) -> None:
    """Print the key of USER for AWS SDKs and the AWS CLI, as their credential_process.

    In ~/.aws/config: credential_process = keyturn credentials USER --region REGION. Programs then
    pick a new key up without a restart. The secret is read with the user's own key, and when
    Secrets Manager is out of reach, the last good key is served again, but for a short time.
    Errors go to standard error.
    """
    # Only the help comes by here: see __main__.py.
    raise typer.Exit(credentials.main(sys.argv[2:]))


@app.command("onboard")
@on_a_stack
def onboard_command(
    user: User,
    *,
    existing_secret_stdin: Annotated[
        bool,
        typer.Option(
            "--existing-secret-stdin",
            help="Store the present key, so that a back-out can restore it: its secret access key "
            "is read from standard input, or asked for without showing it.",
        ),
    ] = False,
    access_key_id: Annotated[
        str | None, typer.Option(help="The present key, when the user has two active ones.")
    ] = None,
    yes: Yes = False,
    at: Target,
) -> None:
    """Put USER into the stack's care: its secret, the consumer policy, the managed tag.

    Shows what it will do and asks. What is there already stays, so it can be repeated.
    """
    partner = "--existing-secret-stdin"
    assert_together("--access-key-id", access_key_id, partner, existing_secret_stdin)
    found = stack.find(at.stack_name)
    settings = found.settings()
    facts = onboard.look(user, found)
    given = onboard.read_given(facts, access_key_id) if existing_secret_stdin else None
    changes = onboard.onboarding(facts, found, settings, given)
    if given:
        onboard.assert_is_users(facts, given)
    if changes:
        how = onboard.onboard(found, settings, facts, given)
        onboard.carry_out(changes, how, notes=onboard.remarks(facts, given), yes=yes)
    else:
        print(f"{user} is onboarded already; nothing was changed")
    print(
        f"Next: let the consumers read the secret {found.secret_name(user)} (docs/consumers.md), "
        f"then: keyturn plan {user}"
    )


@app.command("offboard")
@on_a_stack
def offboard_command(
    user: User,
    *,
    delete_secret: Annotated[
        bool, typer.Option("--delete-secret", help="Also delete the secret.")
    ] = False,
    recovery_days: Annotated[
        int | None,
        typer.Option(
            min=7, max=30, help="How long a deleted secret can be restored, in days; else 30."
        ),
    ] = None,
    yes: Yes = False,
    at: Target,
) -> None:
    """Take USER out of the stack's care: remove the tag and the consumer policy.

    Keys stay as they are, and so does the secret unless asked. Refused while a rotation is in
    flight. Shows what it will do and asks.
    """
    assert_together("--recovery-days", recovery_days, "--delete-secret", delete_secret)
    found = stack.find(at.stack_name)
    settings = found.settings()
    facts = onboard.look(user, found)
    days = (recovery_days or onboard.RECOVERY_DAYS) if delete_secret else None
    changes = onboard.offboarding(facts, found, settings, delete_secret_after_days=days)
    if not changes:
        print(f"{user} is not in the care of the stack {found.name}; nothing was changed")
        return
    how = onboard.offboard(found, settings, facts, days)
    onboard.carry_out(
        changes,
        how,
        notes=[],
        yes=yes,
        look_again=lambda: onboard.assert_still_at_rest(found, settings, facts),
    )
    print(f"{user} keeps its keys; Keyturn does not touch it any more")


local_app = typer.Typer(
    help="The embedded AWS, for playing with aws and sam: no account, no Docker.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(local_app, name="local")
Export = Annotated[
    bool, typer.Option("--export", help='Only the variables: eval "$(keyturn local up --export)"')
]


@local_app.command("up")
@guarded
def local_up(
    *,
    export: Export = False,
    region: Annotated[
        str | None, typer.Option(help="The Region that it plays; else us-east-1.")
    ] = None,
    deploy: Annotated[
        Path | None,
        typer.Option(
            metavar="TEMPLATE",
            help="Also deploy this template.yaml of Keyturn's as the stack keyturn, with days "
            "scaled to seconds.",
        ),
    ] = None,
) -> None:
    """Start it in the background, and print the variables that point programs at it."""
    made = local.up(region, deploy)
    if not export:
        print(f"The embedded AWS is up at {made.endpoint_url} (process {made.pid}).")
        print("Point programs at it with:\n")
    print(local.exports(made.environment))
    if not export:
        print('\nor: eval "$(keyturn local up --export)". Stop it with: keyturn local down')


@local_app.command("down")
@guarded
def local_down() -> None:
    """Stop it; everything in it is gone."""
    found = local.running()
    print("stopped" if local.down() else "the embedded AWS is not up")
    if found and os.environ.get("AWS_ENDPOINT_URL") == found.endpoint_url:
        output.note("this shell still points at it; go on in a new one")


@local_app.command("status")
@guarded
def local_status(*, as_json: Json = False) -> int:
    """Tell whether it is up, and where; 1 when it is not."""
    found = local.running()
    if as_json:
        output.print_json({"up": found is not None, **(found.dump() if found else {})})
    elif found:
        print(f"up at {found.endpoint_url} (process {found.pid}); log: {found.log}")
    else:
        print("not up; start it with: keyturn local up")
    return 0 if found else 1


def paths() -> list[list[str]]:
    """Return the names of all commands, for the documentation: `[["rotate"], ["local", "up"]]`."""
    groups = {group.name: group.typer_instance for group in app.registered_groups}
    own = [[_name(command)] for command in app.registered_commands]
    return own + [
        [str(name), _name(command)]
        for name, group in groups.items()
        for command in (group.registered_commands if group else [])
    ]


def _name(command: CommandInfo) -> str:
    return str(command.name or getattr(command.callback, "__name__", "").replace("_", "-"))
