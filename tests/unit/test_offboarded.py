"""Who counts as offboarded: the mark on the secret against the last result. Pure."""

from __future__ import annotations

import pytest

from keyturn.fleet.facts import secret_facts
from tests.unit.worlds import MARK, secret

MARKED = "2026-03-01T12:00:00.000Z"


@pytest.mark.parametrize(
    ("mark", "result", "offboarded"),
    [
        (None, None, False),
        (None, f"ROTATED 2026-03-02T00:00:00.000Z {MARK}", False),
        (MARKED, None, True),
        (MARKED, f"ROTATED 2026-02-01T00:00:00.000Z {MARK}", True),
        (MARKED, f"ROTATED {MARKED} {MARK}", True),
        (MARKED, f"ROTATED 2026-03-01T12:00:00.001Z {MARK}", False),
        (MARKED, f"BACKED_OUT 2026-04-01T00:00:00.000Z {MARK}", False),
        # As the runbook writes it without the command: the day, whose end nobody knows better.
        ("2026-03-01", f"ROTATED 2026-03-01T23:59:59.999Z {MARK}", True),
        ("2026-03-01", f"ROTATED 2026-03-02T00:00:00.000Z {MARK}", False),
        ("9999-12-31", f"ROTATED 2026-03-02T00:00:00.000Z {MARK}", True),
        # What cannot be read undoes nothing.
        ("", f"ROTATED 2026-04-01T00:00:00.000Z {MARK}", True),
        ("yes", f"ROTATED 2026-04-01T00:00:00.000Z {MARK}", True),
        (MARKED, "ROTATED", True),
        (MARKED, "ROTATED some-day", True),
        (MARKED, "", True),
    ],
)
def test_a_result_after_the_mark_means_that_somebody_manages_the_user_again(
    mark: str | None, result: str | None, offboarded: bool
) -> None:
    tags = {"keyturn:offboarded": mark, "keyturn:last-result": result}
    state = secret(record={name: value for name, value in tags.items() if value is not None})
    assert state.offboarded is offboarded
    # The fleet and the audit know users by this list.
    assert ("u" in secret_facts([state], "machine-user/")) is not offboarded
