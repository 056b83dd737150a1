"""What an audit knows besides the credential report, as JSON that lies beside the report.

The central account audits many accounts together from these two files of each.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import partial
from typing import Any

from keyturn.audit.counts import camel
from keyturn.audit.errors import ReportError
from keyturn.audit.model import AccountSource, SecretFacts, Unavailable
from keyturn.model.passwords import PasswordPolicy

FORMAT = "keyturn.audit.context/1"
_THEN = (
    "The account's next audit writes context.json again; without it, the report is judged alone "
    "by `keyturn audit`."
)


def dump_context(source: AccountSource) -> str:
    """Return the JSON form of everything in a source but its lines; no secret is in it."""
    managed, policy = source.managed, source.password_policy
    facts: Any = None
    if not isinstance(managed, Unavailable):
        facts = [{**_camelled(one), "lastResultAt": _iso(one)} for one in managed.values()]
    return json.dumps(
        {
            "format": FORMAT,
            "accountId": source.account_id,
            "at": source.at.isoformat(),
            "managedPath": source.managed_path,
            "managed": _unavailable(managed) or facts,
            "passwordPolicy": _unavailable(policy) or (_camelled(policy) if policy else None),
        },
        indent=2,
    )


def _camelled(facts: object) -> dict[str, Any]:
    return {camel(name): value for name, value in vars(facts).items()}


def _iso(facts: SecretFacts) -> str | None:
    return facts.last_result_at.isoformat() if facts.last_result_at else None


def _unavailable(given: object) -> dict[str, str] | None:
    return {"unavailable": given.why} if isinstance(given, Unavailable) else None


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
        refused = partial(ReportError, name, then=_THEN)
        if context["format"] != FORMAT:
            raise refused(f"the format is not {FORMAT}.", column="format")
        if context["accountId"] not in (None, account_id):
            raise refused("it names another account.", column="accountId")
        at = datetime.fromisoformat(context["at"])
        if at.tzinfo is None:
            raise refused("the moment of the report has no time zone.", column="at")
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
        one["userName"]: SecretFacts(
            user_name=str(one["userName"]),
            secret_arn=str(one["secretArn"]),
            in_flight=one["inFlight"] is not False,
            last_result=one["lastResult"],
            last_result_at=datetime.fromisoformat(at) if (at := one["lastResultAt"]) else None,
        )
        for one in stored
    }


def _policy(stored: Any) -> PasswordPolicy | Unavailable | None:
    if stored is None:
        return None
    if "unavailable" in stored:
        return Unavailable(str(stored["unavailable"]))
    values = [stored[name] for name in ("maxAgeDays", "minimumLength", "reusePrevention")]
    return PasswordPolicy(*[None if value is None else int(value) for value in values])
