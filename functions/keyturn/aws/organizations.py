"""AWS Organizations: which accounts there are."""

from __future__ import annotations

from keyturn.aws import calls

# The states of an account that can still have users.
_THERE = frozenset({"ACTIVE", "PENDING_CLOSURE"})


def accounts() -> list[str]:
    """Return the numbers of the organisation's accounts, closed ones left out.

    Raises:
        AwsRefused: this is neither the management account nor a delegated administrator.
    """
    with calls.translated("organizations:ListAccounts"):
        pages = calls.organizations().get_paginator("list_accounts").paginate()
        return [
            account["Id"]
            for page in pages
            for account in page["Accounts"]
            if account["Status"] in _THERE
        ]
