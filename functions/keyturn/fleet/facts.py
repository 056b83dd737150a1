"""What the fleet run knows of the users: from the credential report and the list of secrets."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from keyturn.audit.model import SecretFacts
from keyturn.audit.rows import mended
from keyturn.model.moments import iso, moment
from keyturn.model.request import is_user_name
from keyturn.model.world import Label, SecretState


@dataclass(frozen=True)
class FleetUser:
    """A user of the account. `active_keys` are the creation times of the active keys.

    `created_at` is None when the report holds no date there.
    """

    name: str
    arn: str
    created_at: datetime | None
    active_keys: tuple[datetime, ...]
    unclear_keys: bool = False
    """Whether an active key has no readable creation date."""
    managed: bool = False
    in_flight: bool = False
    last_result: str | None = None
    last_result_at: datetime | None = None

    @property
    def oldest_key(self) -> datetime | None:
        """When the oldest active key was created; None without an active key."""
        return min(self.active_keys, default=None)

    def dump(self) -> dict[str, Any]:
        """Return the JSON form."""
        return {
            "userName": self.name,
            "arn": self.arn,
            "createdAt": _text(self.created_at),
            "activeKeys": [iso(at) for at in self.active_keys],
            "unclearKeys": self.unclear_keys,
            "managed": self.managed,
            "inFlight": self.in_flight,
            "lastResult": self.last_result,
            "lastResultAt": _text(self.last_result_at),
        }

    @classmethod
    def load(cls, data: Mapping[str, Any]) -> FleetUser:
        """Read what `dump` wrote."""
        return cls(
            name=data["userName"],
            arn=data["arn"],
            created_at=moment(data["createdAt"]),
            active_keys=tuple(at for at in map(moment, data["activeKeys"]) if at),
            unclear_keys=data["unclearKeys"],
            managed=data["managed"],
            in_flight=data["inFlight"],
            last_result=data["lastResult"],
            last_result_at=moment(data["lastResultAt"]),
        )


def secret_facts(listed: Iterable[SecretState], prefix: str) -> dict[str, SecretFacts]:
    """Return the facts of the machine users' secrets, by user name.

    One whose name does not end in a user name, that another service owns, that is scheduled for
    deletion or whose user was offboarded, is not ours.
    """
    found = {}
    for secret in listed:
        user = secret.name.removeprefix(prefix)
        ours = secret.name.startswith(prefix) and is_user_name(user)
        gone = secret.scheduled_for_deletion or secret.offboarded
        if not ours or secret.owning_service or gone:
            continue
        last = secret.last_result
        found[user] = SecretFacts(
            user_name=user,
            secret_arn=secret.arn,
            in_flight=Label.CLAIM in secret.labels,
            last_result=last.outcome if last else None,
            last_result_at=last.at if last else None,
        )
    return found


def users_of(
    lines: Iterable[str], secrets: Mapping[str, SecretFacts], user_path: str
) -> list[FleetUser]:
    """Return the users of a credential report that the audit has accepted.

    The rows are read as the audit reads them. Damaged ones are left out: the audit tells of them,
    and nobody is chosen by them. Managed is who lies below the path and has a secret. IAM's tags
    cannot be had in a constant number of calls; RotateKey looks at the tag, and the roles' policies
    enforce it.
    """
    rows = csv.reader(lines)
    header = [name.removeprefix("\ufeff").strip() for name in next(rows)]
    users = []
    for row in rows:
        fields = mended(row, len(header)) if len(row) > len(header) else row
        cells = dict(zip(header, fields, strict=False))
        if len(fields) == len(header) and ":user/" in cells["arn"]:
            users.append(_user(cells, secrets.get(cells["user"]), user_path))
    return users


def _user(row: Mapping[str, str], secret: SecretFacts | None, user_path: str) -> FleetUser:
    active = [
        moment(row[f"access_key_{slot}_last_rotated"])
        for slot in (1, 2)
        if row[f"access_key_{slot}_active"].lower() == "true"
    ]
    below = row["arn"].partition(":user")[2].startswith(user_path)
    return FleetUser(
        name=row["user"],
        arn=row["arn"],
        created_at=moment(row["user_creation_time"]),
        active_keys=tuple(at for at in active if at),
        unclear_keys=None in active,
        managed=below and secret is not None,
        in_flight=secret is not None and secret.in_flight,
        last_result=secret.last_result if secret else None,
        last_result_at=secret.last_result_at if secret else None,
    )


def _text(at: datetime | None) -> str | None:
    return iso(at) if at else None
