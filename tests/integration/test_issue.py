"""Issue New Key and what comes before it: the request, the claim, the store."""

from __future__ import annotations

from tests.integration.account import Account


def test_smoke(account: Account) -> None:
    old = account.rotatable()
    execution = account.execution()
    assert execution.call("check_request")["verdict"] == "ISSUE"
    print(account.wire.operations)
    answer = execution.call("issue_new_key")
    assert answer["verdict"] == "ISSUED"
    print(account.labels(), account.keys(), old)
    print(
        execution.until("prove_new_key", "publish_new_key")["verdict"],
        account.labels(),
        account.slept,
    )
