"""The rules of users as questions about their facts, each with the source of its boundary.

Answers are YES, NO, or BROKEN where a cell does not tell, which is never a pass. Findings and the
study's tables ask the same questions.
"""

from __future__ import annotations

from typing import NamedTuple

from keyturn.audit.facts import BROKEN, NO, NO_DATE, YES, Calendar, Facts, KeyFacts


class Credential(NamedTuple):
    """A password or key that works, as far as is known."""

    name: str
    enabled: int
    last_use: int
    """A rank; where there was no use, that of the last change or the creation."""
    column: str
    """The column whose date that is."""


def any_of(*answers: int) -> int:
    """YES when one is, whatever the others are; NO only when all are."""
    return YES if YES in answers else BROKEN if BROKEN in answers else NO


def all_of(*answers: int) -> int:
    """NO when one is, whatever the others are; YES only when all are."""
    return NO if NO in answers else BROKEN if BROKEN in answers else YES


def opposite(answer: int) -> int:
    """YES for NO, NO for YES."""
    return BROKEN if answer == BROKEN else 1 - answer


def _and_known(enabled: int, rank: int, answer: bool) -> int:
    """Whether something is enabled, and the answer about its date is yes."""
    return all_of(enabled, BROKEN if rank < 0 else int(answer))


def key_older_than(key: KeyFacts, calendar: Calendar, days: int) -> int:
    """CIS 1.14 (v3), Security Hub IAM.3: an active key, strictly older."""
    return _and_known(key.active, key.rotated, calendar.over(key.rotated, days))


def any_key_older_than(facts: Facts, calendar: Calendar, days: int) -> int:
    """Whether one of the keys is."""
    return any_of(*[key_older_than(key, calendar, days) for key in facts.keys])


def two_active(facts: Facts) -> int:
    """CIS 1.13 (v3)."""
    return all_of(facts.key_1_active, facts.key_2_active)


def two_active_for(facts: Facts, calendar: Calendar, days: int) -> int:
    """Whether there have been two active keys for strictly more: the younger is that old."""
    return all_of(*[key_older_than(key, calendar, days) for key in facts.keys])


def password_changed(facts: Facts) -> tuple[int, str]:
    """Return the rank and the column of the last change: where there was none, the creation."""
    if facts.password_changed == NO_DATE:
        return facts.created, "user_creation_time"
    return facts.password_changed, "password_last_changed"


def credentials(facts: Facts) -> list[Credential]:
    """Return the password and the keys, unless they are known to be disabled.

    A date that is broken is not replaced by another: it could have been the older one.
    """
    used = facts.password_used, "password_last_used"
    if facts.password_used == NO_DATE:
        used = password_changed(facts)
    found = [Credential("password", facts.console, *used)]
    for key in facts.keys:
        used = key.used, f"{key.name}_last_used_date"
        if key.used == NO_DATE:
            used = key.rotated, f"{key.name}_last_rotated"
        found.append(Credential(key.name, key.active, *used))
    return [credential for credential in found if credential.enabled != NO]


def credential_unused(credential: Credential, calendar: Calendar, days: int) -> int:
    """Conformity IAM-003, Security Hub IAM.8 and IAM.22: for so many days, or more."""
    last_use = credential.last_use
    return _and_known(credential.enabled, last_use, calendar.reached(last_use, days))


def user_unused(facts: Facts, calendar: Calendar, days: int) -> int:
    """The Netskope study: nothing that works was used; having nothing that works is unused too.

    Inactive keys do not count, and neither does a change of the password after a use.
    """
    in_use = [
        _and_known(one.enabled, one.last_use, not calendar.reached(one.last_use, days))
        for one in credentials(facts)
    ]
    return opposite(any_of(*in_use))


def key_made_with_user(facts: Facts) -> int:
    """CIS 1.11 (v3), the Netskope study: whether the keys are still active does not matter."""
    if facts.made_with_user or facts.console == NO:
        return facts.console
    unclear = [key.rotated < 0 or facts.created < 0 for key in facts.keys if key.exists]
    return BROKEN if any(unclear) else NO


def password_without_mfa(facts: Facts) -> int:
    """CIS 1.10 (v3), Security Hub IAM.5."""
    return all_of(facts.console, opposite(facts.mfa))


def password_older_than(facts: Facts, calendar: Calendar, days: int) -> int:
    """Well-Architected SEC02-BP05: strictly more."""
    changed, _ = password_changed(facts)
    return _and_known(facts.console, changed, calendar.over(changed, days))
