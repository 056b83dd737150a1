"""What the page calls things."""

from __future__ import annotations

from keyturn.audit.model import Need, Rule, Severity

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
