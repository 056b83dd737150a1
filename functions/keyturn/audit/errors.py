"""What goes wrong with a credential report as a whole."""

from __future__ import annotations

from keyturn.model.errors import KeyturnError

_AGAIN = (
    "Generate it again with `aws iam generate-credential-report`, then fetch it with "
    "`aws iam get-credential-report --query Content --output text | base64 --decode`."
)


class ReportError(KeyturnError):
    """A credential report that cannot be judged; account or source, column and line are named.

    It is not among the errors that a state machine matches on: whoever audits several accounts
    decides what becomes of the others.
    """

    def __init__(
        self,
        source: str,
        problem: str,
        *,
        column: str | None = None,
        line: int | None = None,
        then: str = _AGAIN,
    ) -> None:
        """`source` names the account or the file; `line` counts from 1; `then`: what to do."""
        self.source = source
        self.column = column
        self.line = line
        place = source if line is None else f"{source}, line {line}"
        super().__init__(f"{place}: {problem} Nothing of this report was judged. {then}")
