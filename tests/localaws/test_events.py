"""Events of AWS's own services: only the control client can send them."""

from __future__ import annotations

import json

import pytest

from tests.localaws.support import Toy, eventually

pytestmark = pytest.mark.emulator


def test_an_event_of_a_service_reaches_the_rules(toy: Toy, name: str) -> None:
    events, sqs = toy.aws.client("events"), toy.aws.client("sqs")
    url = sqs.create_queue(QueueName=name)["QueueUrl"]
    arn = f"arn:aws:sqs:{toy.aws.region}:{toy.aws.account_id}:{name}"
    pattern = {"source": ["aws.health"], "detail": {"number": [{"numeric": [">=", 7]}]}}
    events.put_rule(Name=name, EventPattern=json.dumps(pattern))
    events.put_targets(Rule=name, Targets=[{"Id": "queue", "Arn": arn}])
    entry = {"Source": "aws.health", "DetailType": "AWS Health Event", "Detail": '{"number": 9}'}
    assert events.put_events(Entries=[entry])["FailedEntryCount"] == 1
    for number in (6, 7):
        toy.aws.control.send_event("aws.health", "AWS Health Event", {"number": number}, ["r"])
    found: list[str] = []

    def delivered() -> bool:
        received = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)
        found.extend(message["Body"] for message in received.get("Messages", []))
        return bool(found)

    eventually(delivered)
    (event,) = [json.loads(body) for body in found]
    assert event["detail"] == {"number": 7}
    assert (event["account"], event["resources"]) == (toy.aws.account_id, ["r"])
