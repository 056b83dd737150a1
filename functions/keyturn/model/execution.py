"""The execution that a function works for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from keyturn.model.identifiers import execution_mark


@dataclass(frozen=True)
class Execution:
    """An execution of a state machine: its ARN, and when it was started."""

    arn: str
    started_at: datetime

    @property
    def mark(self) -> str:
        """The execution's mark, as it is in the version ids that it makes."""
        return execution_mark(self.arn, self.started_at)

    @property
    def account_id(self) -> str:
        """The account that the execution runs in."""
        return self.arn.split(":")[4]
