"""The fence: no changing call outside of a state's budget, by any adapter function."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import pkgutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from pydantic import SecretStr

import keyturn.aws
from keyturn.aws import fence
from keyturn.aws.secrets import StoredKey
from keyturn.model.errors import ExecutionRedriven, FenceClosed, KeyturnError
from keyturn.model.settings import CHANGE_BUDGET_SECONDS
from keyturn.model.world import Label, Tag
from tests.integration.account import Account, assert_refused, handler_modules
from tests.integration.aws_like import ACCOUNT

NOW = datetime(2026, 11, 21, 5, 0, tzinfo=UTC)

READ_ONLY = ("Get", "List", "Describe")

# Starting the back-out of a dead execution changes no key and no label, and its name, a hash of
# the dead one's, makes every repetition a no.
NEEDS_NO_FENCE = {"keyturn.aws.executions.start"}


# What only audits and fleet runs use: they ask for reports and write files, no keys and no labels.
OF_REPORTS = {"keyturn.aws.reports", "keyturn.aws.s3"}
# What has to do with no keys and no labels: it calls no AWS, or only tells people.
NO_ADAPTERS = {f"keyturn.aws.{name}" for name in ("fence", "health", "metrics", "notify")}


def functions() -> list[tuple[str, Callable[..., Any]]]:
    """Every public function of every adapter module that has to do with keys and labels."""
    found = []
    for module_info in pkgutil.iter_modules(keyturn.aws.__path__, "keyturn.aws."):
        if module_info.name in OF_REPORTS | NO_ADAPTERS:
            continue
        module = importlib.import_module(module_info.name)
        for name, member in inspect.getmembers(module, callable):
            mine = getattr(member, "__module__", None) == module.__name__
            if mine and not name.startswith("_") and not inspect.isclass(member):
                found.append((f"{module.__name__}.{name}", member))
    return found


# What to call an adapter function with, by parameter name. A new parameter needs a line here.
ARGUMENTS: dict[str, Any] = {
    "access_key_id": "AKIAIOSFODNN7EXAMPLE",
    "account_id": ACCOUNT,
    "active": False,
    "cause": "cause",
    "data": {},
    "error": ClientError({"Error": {"Code": "X"}}, "Y"),
    "execution_arn": f"arn:aws:states:us-east-1:{ACCOUNT}:execution:rotate:x",
    "expected": "a" * 32,
    "give_up_after_seconds": 0,
    "key": StoredKey("AKIAIOSFODNN7EXAMPLE", SecretStr("secret")),
    "key_id": "AKIAIOSFODNN7EXAMPLE",
    "keys": Tag.LAST_RESULT,
    "label": Label.CLAIM,
    "machine_arn": "arn",
    "name": "machine-user/ci",
    "names": ["alarm"],
    "operation": "x:Y",
    "path": "/",
    "prefix": "machine-user/",
    "response": {},
    "secret_id": "machine-user/ci",
    "tags": {},
    "to": "b" * 32,
    "user_id": "AIDAIOSFODNN7EXAMPLE",
    "user_name": "ci",
    "value": SecretStr("{}"),
    "version_id": "a" * 32,
}


def call(function: Callable[..., Any]) -> None:
    positional: list[Any] = []
    keywords: dict[str, Any] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is parameter.VAR_POSITIONAL:
            positional.append(ARGUMENTS[name])
        elif name in ("sleep", "clock"):
            continue
        elif parameter.kind is parameter.KEYWORD_ONLY:
            keywords[name] = ARGUMENTS[name]
        else:
            positional.append(ARGUMENTS[name])
    function(*positional, **keywords)


def changed(account: Account) -> list[str]:
    return [name for name in account.wire.operations if not name.startswith(READ_ONLY)]


@pytest.mark.parametrize("name", dict(functions()))
def test_without_an_open_fence_no_adapter_function_changes_anything(
    account: Account, name: str
) -> None:
    account.rotatable()
    account.wire.forget()
    with contextlib.suppress(KeyturnError):
        call(dict(functions())[name])
    if name in NEEDS_NO_FENCE:
        assert changed(account)
    else:
        assert changed(account) == []


def test_every_changing_function_is_found_and_refuses(account: Account) -> None:
    """The introspection above would be silent if it found nothing."""
    account.rotatable()
    refusing = set()
    for name, function in functions():
        try:
            call(function)
        except FenceClosed:
            refusing.add(name.removeprefix("keyturn.aws."))
        except KeyturnError:
            pass
    assert refusing == {
        "executions.stop",
        "iam.create_key",
        "iam.delete_key",
        "iam.set_active",
        "secrets.create",
        "secrets.move",
        "secrets.put",
        "secrets.remove",
        "secrets.tag",
        "secrets.untag",
    }


def test_a_call_may_begin_until_the_budget_is_over() -> None:
    for seconds, allowed in (
        (0, True),
        (CHANGE_BUDGET_SECONDS, True),
        (CHANGE_BUDGET_SECONDS + 1, False),
    ):
        clock = NOW + timedelta(seconds=seconds)
        with fence.opened(fence.Fence(NOW, clock=lambda clock=clock: clock)):  # type: ignore[misc]
            if allowed:
                fence.may_change()
            else:
                with pytest.raises(FenceClosed, match="not begun"):
                    fence.may_change()


def test_the_budget_is_asked_at_every_call() -> None:
    moments = iter([NOW, NOW + timedelta(seconds=CHANGE_BUDGET_SECONDS + 1)])
    with fence.opened(fence.Fence(NOW, clock=lambda: next(moments))):
        fence.may_change()
        with pytest.raises(FenceClosed):
            fence.may_change()


def test_a_redriven_execution_changes_nothing() -> None:
    with (
        fence.opened(fence.Fence(NOW, redrive_count=1, clock=lambda: NOW)),
        pytest.raises(ExecutionRedriven, match="start a new execution"),
    ):
        fence.may_change()


def test_a_fence_closes_with_its_block() -> None:
    with fence.opened(fence.Fence(NOW, clock=lambda: NOW)):
        pass
    with pytest.raises(FenceClosed, match="outside of a state"):
        fence.may_change()


def test_a_handler_called_late_changes_nothing(account: Account) -> None:
    account.rotatable()
    execution = account.execution()
    execution.call("check_request")
    account.wire.forget()
    late = datetime.now(UTC) - timedelta(seconds=CHANGE_BUDGET_SECONDS + 5)
    with pytest.raises(FenceClosed):
        execution.call("issue_new_key", entered_at=late)
    assert changed(account) == []


def refusing_when_redriven() -> list[str]:
    """Every function of a state, but the two that have an answer."""
    names = {
        module.__name__.rsplit(".", 1)[-1]
        for module in handler_modules()
        if hasattr(module, "step")
    }
    return sorted(names - {"check_request", "close_rotation"})


@pytest.mark.parametrize("handler", refusing_when_redriven())
def test_a_redriven_execution_is_refused_before_it_looks_at_anything(
    account: Account, handler: str
) -> None:
    """Else it polls for days, and only then learns that it may change nothing."""
    account.rotatable()
    execution = account.execution()
    execution.call("check_request")
    account.wire.forget()
    answer = execution.call(handler, redrives=1)
    assert_refused(answer, "CLAIM_LOST", "was redriven")
    assert answer["ending"] == "AttentionNeeded"
    assert "which changes nothing. Start ROTATE or BACK_OUT" in answer["announcement"]["message"]
    assert account.wire.operations == []


def test_functions_of_rotations_do_not_use_what_has_no_fence() -> None:
    for module in handler_modules():
        rotates = "state_function" in vars(module)
        used = {getattr(member, "__name__", "") for member in vars(module).values()}
        assert not (rotates and used & OF_REPORTS), module.__name__
