"""How the page says things: text that is safe inside HTML, numbers, moments, and names."""

from __future__ import annotations

from datetime import UTC, datetime
from html import escape

from keyturn.audit.model import Need, Rule, Severity

REPLACEMENT = "\ufffd"


def text(value: object) -> str:
    """A value for an element or a quoted attribute.

    Characters that cannot be seen (controls, text that turns its direction round, line separators)
    become a replacement character, so that nothing in a name can hide or disguise itself.
    """
    string = str(value)
    if not string.isprintable():
        string = "".join(c if c.isprintable() or c == "\n" else REPLACEMENT for c in string)
    return escape(string)


def number(value: int) -> str:
    """12478 as 12,478."""
    return f"{value:,}"


def counted(value: int, noun: str) -> str:
    """1 user, 2 users."""
    return f"{value:,} {noun}" if value == 1 else f"{value:,} {noun}s"


def share(part: int, whole: int) -> str:
    """A percentage with one decimal; a dash when there is nothing to be a share of."""
    return f"{100 * part / whole:.1f}%" if whole else "\u2013"


def moment(at: datetime) -> str:
    """Such as 2026-11-21 10:08 UTC."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


RULES: dict[Rule, str] = {
    Rule.ROOT_ACCESS_KEY: "The root user has an active access key",
    Rule.ROOT_PASSWORD_ROTATION: "The root user's password and MFA",
    Rule.PASSWORD_POLICY: "The account's password policy is weak",
    Rule.PASSWORD_WITHOUT_MFA: "A console password without MFA",
    Rule.KEY_NOT_ROTATED: "An active key was not rotated in time",
    Rule.TWO_ACTIVE_KEYS: "Both keys of a user are active",
    Rule.UNUSED_CREDENTIAL: "A password or key that nobody uses",
    Rule.UNUSED_USER: "A user that nobody uses",
    Rule.KEY_AT_USER_CREATION: "A console user was made with a key",
    Rule.OLD_PASSWORD: "A password was not changed in time",
}

SEVERITIES: dict[Severity, str] = {
    Severity.CRITICAL: "Critical",
    Severity.HIGH: "High",
    Severity.MEDIUM: "Medium",
    Severity.LOW: "Low",
}

NEEDS: dict[Need, tuple[str, str]] = {
    Need.REMOVE: ("Remove", "nobody uses it"),
    Need.IDENTITY_CENTER: ("Identity Center", "probably a person\u2019s"),
    Need.ROLES_ANYWHERE: ("Roles Anywhere", "a workload outside AWS"),
    Need.ROLE: ("IAM role", "a workload inside AWS"),
    Need.UNKNOWN: ("Not known", "the report does not tell"),
}

CREDENTIALS: dict[str | None, str] = {
    "password": "Password",
    "access_key_1": "Access key 1",
    "access_key_2": "Access key 2",
}
