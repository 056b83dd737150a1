"""The fleet reads a credential report as the audit does: nobody is audited and never rotated."""

from __future__ import annotations

import pytest

from keyturn.audit.model import SecretFacts
from keyturn.fleet.facts import users_of
from tests.unit.credential_reports import ago, audited, key, lines, root, user

KNOWN = {"ci": SecretFacts("ci", "arn", in_flight=False)}


@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("quoted", [True, False])
def test_a_user_whose_path_has_a_comma_is_audited_and_can_be_chosen(
    mark: str, *, quoted: bool
) -> None:
    row = user("ci", path="/team,a/", **key(1, ago(91), ago(1)))
    text = [line if quoted else line.replace('"', "") for line in lines(root(), row)]
    text[0] = mark + text[0]
    _, report = audited(text=text, managed=KNOWN)
    assert report.accounts[0].managed_keys_over_age == 1
    (one,) = users_of(text, KNOWN, "/team,a/")
    assert (one.name, one.managed, len(one.active_keys)) == ("ci", True, 1)
