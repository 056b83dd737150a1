"""The options that every command on a stack has, and how errors become one line and a status."""

from __future__ import annotations

import functools
import inspect
import sys
import traceback
from collections.abc import Callable
from typing import Annotated, Any

import typer

from keyturn.model.identifiers import masked_in
from keyturn_cli import aws
from keyturn_cli.errors import CliError, explain
from keyturn_cli.output import note

StackName = Annotated[
    str, typer.Option(envvar="KEYTURN_STACK_NAME", help="The CloudFormation stack.")
]
Profile = Annotated[
    str | None, typer.Option(help="A profile of the AWS CLI; else AWS_PROFILE counts.")
]
Region = Annotated[
    str | None, typer.Option(help="The stack's Region; else AWS_REGION or the profile's counts.")
]
Endpoint = Annotated[
    str | None, typer.Option(help="Another endpoint for all services; else AWS_ENDPOINT_URL.")
]
Debug = Annotated[bool, typer.Option("--debug", help="Show a traceback when something goes wrong.")]
User = Annotated[str, typer.Argument(help="The IAM user.", metavar="USER")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON; see docs/cli.md for its fields.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]

INTERRUPTED = 130
DEFECT = 70  # EX_SOFTWARE of sysexits.h

_CONNECTION: dict[str, tuple[Any, Any]] = {
    "stack_name": (StackName, "keyturn"),
    "profile": (Profile, None),
    "region": (Region, None),
    "endpoint_url": (Endpoint, None),
}


def assert_together(option: str, given: object, partner: str, partner_given: object) -> None:
    """Return unless an option was given without the one that gives it a meaning.

    Raises:
        CliError: it was; passed over, it would make a person believe that it counted.
    """
    if given and not partner_given:
        raise CliError(f"{option} means nothing without {partner}; nothing was done")


def on_a_stack(command: Callable[..., int | None]) -> Callable[..., None]:
    """Give a command the options of the connection, and pass it an `aws.Target` as `at`."""

    def connected(**given: Any) -> int | None:
        at = aws.Target(**{name: given.pop(name) for name in _CONNECTION})
        aws.connect(at)
        return command(at=at, **given)

    own = [
        parameter
        for parameter in inspect.signature(command, eval_str=True).parameters.values()
        if parameter.name != "at"
    ]
    return _with(command, connected, own, _CONNECTION)


def guarded(command: Callable[..., int | None]) -> Callable[..., None]:
    """Turn what a command raises into one line and an exit status."""
    own = list(inspect.signature(command, eval_str=True).parameters.values())
    return _with(command, command, own, {})


def _with(
    command: Callable[..., int | None],
    inner: Callable[..., int | None],
    own: list[inspect.Parameter],
    more: dict[str, tuple[Any, Any]],
) -> Callable[..., None]:
    @functools.wraps(command)
    def run(**given: Any) -> None:
        debug = given.pop("debug")
        status = _run(inner, given, debug=debug)
        sys.stdout.flush()  # while Click can still handle a reader that has left
        if status:
            raise typer.Exit(status)

    added = {**more, "debug": (Debug, False)}
    parameters = own + [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)
        for name, (kind, default) in added.items()
    ]
    # Typer learns the options from the signature.
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _run(inner: Callable[..., int | None], given: dict[str, Any], *, debug: bool) -> int:
    try:
        return inner(**given) or 0
    except KeyboardInterrupt:
        note("left")
        return INTERRUPTED
    except (typer.Exit, typer.Abort, BrokenPipeError):  # the last: whoever read has left, as head
        raise
    # Blind on purpose: a person gets one line, and --debug shows the rest.
    except Exception as error:  # noqa: BLE001
        if debug:
            traceback.print_exc()
        said = explain(error)
        if said is None:
            note(f"{type(error).__name__}; this is a defect of keyturn, --debug shows where")
            return DEFECT
        note(masked_in(said))
        return getattr(error, "status", 2)
