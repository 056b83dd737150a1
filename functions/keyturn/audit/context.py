"""What an audit knows besides the credential report, as JSON that lies beside the report.

The central account audits many accounts together from these two files of each.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from keyturn.audit.errors import ReportError
from keyturn.audit.model import AccountSource, PasswordPolicy, SecretFacts, Unavailable

FORMAT = "keyturn.audit.context/1"
_THEN = (
    "The account's next audit writes context.json again; without it, the report is judged alone "
    "by `keyturn audit`."
)


def dump_context(source: AccountSource) -> str:
    """Return the JSON form of everything in a source but its lines; no secret is in it."""
    managed: Any
    if isinstance(source.managed, Unavailable):
        managed = {"unavailable": source.managed.why}
    else:
        managed = [
            {
                "userName": facts.user_name,
                "secretArn": facts.secret_arn,
                "inFlight": facts.in_flight,
                "lastResult": facts.last_result,
                "lastResultAt": facts.last_result_at.isoformat() if facts.last_result_at else None,
            }
            for facts in source.managed.values()
        ]
    policy: Any = None
    if isinstance(source.password_policy, Unavailable):
        policy = {"unavailable": source.password_policy.why}
    elif source.password_policy is not None:
        policy = {
            "maxAgeDays": source.password_policy.max_age_days,
            "minimumLength": source.password_policy.minimum_length,
            "reusePrevention": source.password_policy.reuse_prevention,
        }
    return json.dumps(
        {
            "format": FORMAT,
            "accountId": source.account_id,
            "at": source.at.isoformat(),
            "managedPath": source.managed_path,
            "managed": managed,
            "passwordPolicy": policy,
        },
        indent=2,
    )


def load_source(
    account_id: str, csv_lines: Iterable[str], context_json: str, *, file: str | None = None
) -> AccountSource:
    """Return the source that `dump_context` described; raises ReportError when it is not one.

    A context that names another account is refused: somebody may have put it there. `file` is how
    errors name the report, where a person has given it.
    """
    name = f"the context of {file or f'account {account_id}'}"
    try:
        context = json.loads(context_json)
        if context["format"] != FORMAT:
            raise ReportError(name, f"the format is not {FORMAT}.", column="format", then=_THEN)
        if context["accountId"] not in (None, account_id):
            raise ReportError(name, "it names another account.", column="accountId", then=_THEN)
        at = datetime.fromisoformat(context["at"])
        if at.tzinfo is None:
            raise ReportError(
                name, "the moment of the report has no time zone.", column="at", then=_THEN
            )
        return AccountSource(
            lines=csv_lines,
            at=at,
            account_id=account_id,
            name=file or "credential report",
            managed=_managed(context["managed"]),
            managed_path=str(context["managedPath"]),
            password_policy=_policy(context["passwordPolicy"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ReportError(name, f"it is damaged ({type(error).__name__}).", then=_THEN) from error


def _managed(stored: Any) -> Mapping[str, SecretFacts] | Unavailable:
    if isinstance(stored, dict):
        return Unavailable(str(stored["unavailable"]))
    return {
        facts["userName"]: SecretFacts(
            user_name=str(facts["userName"]),
            secret_arn=str(facts["secretArn"]),
            in_flight=facts["inFlight"] is not False,
            last_result=facts["lastResult"],
            last_result_at=datetime.fromisoformat(facts["lastResultAt"])
            if facts["lastResultAt"]
            else None,
        )
        for facts in stored
    }


def _policy(stored: Any) -> PasswordPolicy | Unavailable | None:
    if stored is None:
        return None
    if "unavailable" in stored:
        return Unavailable(str(stored["unavailable"]))
    return PasswordPolicy(
        max_age_days=_number(stored["maxAgeDays"]),
        minimum_length=_number(stored["minimumLength"]),
        reuse_prevention=_number(stored["reusePrevention"]),
    )


def _number(stored: Any) -> int | None:
    return None if stored is None else int(stored)
