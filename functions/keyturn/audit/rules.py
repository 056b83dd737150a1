"""The rules of a user's row as questions, each a pure function with the source of its boundary.

A row is judged as a `Profile`: its booleans, and its dates as ranks (see `dates`). Answers are YES,
NO, or BROKEN where a cell does not tell, which is never a pass.
"""

from __future__ import annotations

from typing import NamedTuple

from keyturn.audit.dates import BROKEN, NO_DATE, Calendar

YES = 1
NO = 0
# BROKEN is also what a boolean is that says neither true nor false.

UNMANAGED = 0
MANAGED = 1
IN_FLIGHT = 2
NOT_KNOWN = 3
"""The secrets, which tell who is managed, could not be read."""

MADE_WITH_USER_SECONDS = 10


class Key(NamedTuple):
    """One of the two slots: whether its key is active, and the ranks of its dates."""

    slot: int
    active: int
    rotated: int
    used: int

    @property
    def name(self) -> str:
        """As in the columns of the report."""
        return f"access_key_{self.slot}"

    @property
    def exists(self) -> bool:
        """Whether there is a key in the slot, active or not."""
        return self.active != NO or self.rotated != NO_DATE

    @property
    def last_use(self) -> int:
        """The rank of the last use; a key that was never used counts from its creation."""
        return _fallback(self.used, self.rotated)


class Credential(NamedTuple):
    """A password or key that works, as far as is known."""

    name: str
    enabled: int
    last_use: int
    """A rank; where there was no use, that of the last change or the creation."""
    column: str
    """The column whose date that is."""


class Profile(NamedTuple):
    """What a user's row says: booleans as YES, NO or BROKEN, dates as ranks."""

    console: int
    mfa: int
    created: int
    password_used: int
    password_changed: int
    key_1_active: int
    key_1_rotated: int
    key_1_used: int
    key_2_active: int
    key_2_rotated: int
    key_2_used: int
    made_with_user: int
    """The slots (1, 2, or 3 for both) with a key made within 10 seconds of a console user."""
    managed: int

    @property
    def keys(self) -> tuple[Key, Key]:
        """Both slots."""
        return (
            Key(1, self.key_1_active, self.key_1_rotated, self.key_1_used),
            Key(2, self.key_2_active, self.key_2_rotated, self.key_2_used),
        )

    @property
    def password_change(self) -> int:
        """The rank of the password's last change; never changed counts from the user's creation."""
        return _fallback(self.password_changed, self.created)

    @property
    def password_last_use(self) -> int:
        """The rank of the password's last use; never used counts from its last change."""
        return _fallback(self.password_used, self.password_change)

    def simpler(self, calendar: Calendar, young_days: int) -> Profile:
        """Return a profile that is judged alike, without what no rule asks for.

        Uses and changes of less than `young_days` are all as good as today's; what belongs to a
        disabled credential does not matter; dates that are later than the report are BROKEN.
        """
        known = calendar.known

        def use(enabled: int, rank: int) -> int:
            if enabled == NO:
                return NO_DATE
            rank = known(rank)
            young = rank >= 0 and not calendar.reached(rank, young_days)
            return calendar.future - 1 if young else rank

        created = known(self.created)
        if self.console == NO or self.password_changed != NO_DATE:  # else it dates the password
            created = max(created, calendar.long_ago) if created >= 0 else created
        return Profile(
            self.console,
            self.mfa if self.console != NO else NO,
            created,
            use(self.console, self.password_used),
            use(self.console, self.password_changed),
            self.key_1_active,
            known(self.key_1_rotated),
            use(self.key_1_active, self.key_1_used),
            self.key_2_active,
            known(self.key_2_rotated),
            use(self.key_2_active, self.key_2_used),
            self.made_with_user,
            self.managed,
        )


def _fallback(rank: int, other: int) -> int:
    """A date that is broken is not replaced by another: it could have been the older one."""
    return other if rank == NO_DATE else rank


# Three-valued answers: YES, NO, and BROKEN where a cell does not tell.


def any_of(*answers: int) -> int:
    """YES when one is, whatever the others are; NO only when all are."""
    return YES if YES in answers else BROKEN if BROKEN in answers else NO


def all_of(*answers: int) -> int:
    """NO when one is, whatever the others are; YES only when all are."""
    return NO if NO in answers else BROKEN if BROKEN in answers else YES


def opposite(answer: int) -> int:
    """YES for NO, NO for YES."""
    return {YES: NO, NO: YES}.get(answer, BROKEN)


def _if_known(rank: int, answer: bool) -> int:
    return BROKEN if rank < 0 else int(answer)


# The rules as questions, for findings and tables alike


def key_older_than(key: Key, calendar: Calendar, days: int) -> int:
    """CIS 1.14 (v3), Security Hub IAM.3: an active key, strictly older."""
    return all_of(key.active, _if_known(key.rotated, calendar.over(key.rotated, days)))


def two_active(profile: Profile) -> int:
    """CIS 1.13 (v3)."""
    return all_of(profile.key_1_active, profile.key_2_active)


def two_active_for(profile: Profile, calendar: Calendar, days: int) -> int:
    """Whether there have been two active keys for strictly more: the younger is that old."""
    return all_of(*(key_older_than(key, calendar, days) for key in profile.keys))


def credentials(profile: Profile) -> list[Credential]:
    """Return the password and the keys, unless they are known to be disabled."""
    column = "password_last_used"
    if profile.password_used == NO_DATE:
        unchanged = profile.password_changed == NO_DATE
        column = "user_creation_time" if unchanged else "password_last_changed"
    found = [Credential("password", profile.console, profile.password_last_use, column)]
    for key in profile.keys:
        column = "last_rotated" if key.used == NO_DATE else "last_used_date"
        found.append(Credential(key.name, key.active, key.last_use, f"{key.name}_{column}"))
    return [credential for credential in found if credential.enabled != NO]


def credential_unused(credential: Credential, calendar: Calendar, days: int) -> int:
    """Conformity IAM-003, Security Hub IAM.8 and IAM.22: for so many days, or more."""
    reached = calendar.reached(credential.last_use, days)
    return all_of(credential.enabled, _if_known(credential.last_use, reached))


def user_unused(profile: Profile, calendar: Calendar, days: int) -> int:
    """The Netskope study: nothing that works was used; having nothing that works is unused too.

    Inactive keys do not count, and neither does a change of the password after a use.
    """
    in_use = []
    for credential in credentials(profile):
        recent = not calendar.reached(credential.last_use, days)
        in_use.append(all_of(credential.enabled, _if_known(credential.last_use, recent)))
    return opposite(any_of(*in_use))


def key_made_with_user(profile: Profile) -> int:
    """CIS 1.11 (v3), the Netskope study: whether the keys are still active does not matter."""
    if profile.made_with_user:
        return profile.console
    unclear = [key.rotated < 0 or profile.created < 0 for key in profile.keys if key.exists]
    return all_of(profile.console, BROKEN if any(unclear) else NO)


def password_without_mfa(profile: Profile) -> int:
    """CIS 1.10 (v3), Security Hub IAM.5."""
    return all_of(profile.console, opposite(profile.mfa))


def password_older_than(profile: Profile, calendar: Calendar, days: int) -> int:
    """Well-Architected SEC02-BP05: strictly more."""
    changed = profile.password_change
    return all_of(profile.console, _if_known(changed, calendar.over(changed, days)))
