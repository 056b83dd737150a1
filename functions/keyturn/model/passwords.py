"""The account's rules for passwords."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PasswordPolicy:
    """The account's password policy; None where IAM has no such setting."""

    max_age_days: int | None
    minimum_length: int | None
    reuse_prevention: int | None
