"""The dashboard and the alarms show what the code really writes, and nothing else.

A metric that is misspelt, or asked for under other dimensions than it is written with, shows as an
empty graph and as an alarm that never goes off: nobody would notice.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from keyturn.audit.model import AccountSource
from keyturn.aws import executions, s3
from keyturn.aws.metrics import Measure, write
from keyturn.fleet import account, central, organization
from keyturn.handlers.events import record_outcome, start_rotation
from keyturn.handlers.organization import audit_organization
from keyturn.model import outcomes
from keyturn.model.errors import AwsRefused
from tests.template.test_template import FUNCTIONS, RESOURCES, STACK, TEMPLATE, Resolver, of_type
from tools import template

Stream = tuple[str, str, frozenset[tuple[str, str]]]
"""Namespace, name and dimensions: what makes a metric one line in a graph."""

GRID_COLUMNS = 24
MACHINE = "arn:aws:states:eu-west-1:111122223333:stateMachine:keyturn-RotateKey"
FLEET = "arn:aws:states:eu-west-1:111122223333:stateMachine:keyturn-RotateFleet"
CONTEXT = SimpleNamespace(
    function_name="keyturn-RecordOutcome",
    memory_limit_in_mb=512,
    invoked_function_arn="arn:aws:lambda:eu-west-1:111122223333:function:keyturn-RecordOutcome",
    aws_request_id="request",
)
COUNTS: Any = SimpleNamespace(
    managed_users=2,
    oldest_managed_key_age_days=3,
    managed_keys_over_age=1,
    rotations_in_flight=0,
)
RESULT = {"publishedAt": "2026-11-21T05:00:00.000Z", "deactivatedAt": "2026-11-21T06:00:00.000Z"}
ENDS: list[dict[str, Any]] = [
    *(
        {"status": "SUCCEEDED", "output": json.dumps({"outcome": outcome} | RESULT)}
        for outcome in ("ROTATED", "ISSUED", "SKIPPED", "BACKED_OUT", "?")
    ),
    *({"status": "FAILED", "error": error, "cause": "{}"} for error in outcomes.DECIDED),
    {"status": "ABORTED", "error": outcomes.TAKEN_OVER_ERROR},
    {"status": "TIMED_OUT"},
    {"status": "RUNNING"},
]
ALARMS = of_type("AWS::CloudWatch::Alarm")
OF_THE_ORGANIZATION = {
    name: resource["Properties"]
    for name, resource in template.load(template.ROOT / "organization/template.yaml")[
        "Resources"
    ].items()
    if resource["Type"] == "AWS::CloudWatch::Alarm"
}


def streams_of(line: dict[str, Any]) -> Iterator[Stream]:
    """The metrics that CloudWatch makes of a line in the embedded metric format."""
    for directive in line["_aws"]["CloudWatchMetrics"]:
        for names in directive["Dimensions"]:
            dimensions = frozenset((name, line[name]) for name in names)
            for metric in directive["Metrics"]:
                yield directive["Namespace"], metric["Name"], dimensions


@pytest.fixture
def written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> set[Stream]:
    """What the real functions write: for every way in which an execution starts and ends, in an
    audit whose report cannot be sent, of a broken event, and of an organisation.
    """

    def refuse(*_: object, **__: object) -> None:
        raise AwsRefused("no")

    of_all = TEMPLATE["Globals"]["Function"]["Environment"]["Variables"]
    for name, value in Resolver()(of_all | {"ROTATE_KEY_STATE_MACHINE_ARN": MACHINE}).items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr(executions, "count_running", lambda machine: 1)
    monkeypatch.setattr(s3, "upload", refuse)
    report = {"judged": 1, "notJudged": []}
    monkeypatch.setattr(organization.CentralSettings, "from_env", lambda: None)
    monkeypatch.setattr(organization, "make_report", lambda settings, now: report)
    for detail in ENDS:
        arn = MACHINE.replace(":stateMachine:", ":execution:") + ":one"
        given = {"executionArn": arn, "input": '{"userName": "ci"}'} | detail
        record_outcome.handler({"detail": given}, CONTEXT)
    account._measure(COUNTS)
    central.send("bucket", AccountSource(lines=(), at=datetime.now(UTC)), tmp_path / central.REPORT)
    start_rotation.handler({}, CONTEXT)
    audit_organization.handler({}, CONTEXT)
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return {stream for line in printed if "_aws" in line for stream in streams_of(line)}


def dashboard(**parameters: Any) -> dict[str, Any]:
    """The dashboard's body as CloudFormation hands it over."""
    text = Resolver(parameters)(RESOURCES["Dashboard"]["Properties"]["DashboardBody"])
    body: dict[str, Any] = json.loads(text)
    return body


def widgets(kind: str) -> dict[str, dict[str, Any]]:
    """The properties of the widgets of a type, by title."""
    return {
        widget["properties"].get("title", ""): widget["properties"]
        for widget in dashboard()["widgets"]
        if widget["type"] == kind
    }


def shown(properties: dict[str, Any]) -> list[Stream]:
    """The metrics of a widget."""
    found = []
    for metric in properties["metrics"]:
        namespace, name, *pairs = [part for part in metric if isinstance(part, str)]
        assert not {".", "..."} & {namespace, name, *pairs}, "written out, or this must expand it"
        assert len(pairs) % 2 == 0
        dimensions = frozenset(zip(pairs[::2], pairs[1::2], strict=True))
        found.append((namespace, name, dimensions))
    return found


def watched(alarm: dict[str, Any]) -> Stream:
    """The metric of an alarm."""
    dimensions = Resolver()(alarm["Dimensions"])
    pairs = frozenset((one["Name"], one["Value"]) for one in dimensions)
    return alarm["Namespace"], alarm["MetricName"], pairs


# What is written


def test_every_metric_is_written_and_no_other(written: set[Stream]) -> None:
    """Each combination of dimensions is billed as a metric, so these are all that there are."""
    service = ("service", STACK)
    of_outcomes = {frozenset({service, ("Outcome", one)}) for one in outcomes.OUTCOMES}
    assert written == {
        ("Keyturn", measure.value, dimensions)
        for measure in Measure
        for dimensions in (of_outcomes if measure is Measure.EXECUTIONS else {frozenset({service})})
    }


def test_every_metric_is_explained_to_operators() -> None:
    """Those that no alarm and no graph reads, too: that is what they are for."""
    text = (template.ROOT / "docs/operations.md").read_text(encoding="utf-8")
    table = text.partition("| metric |")[2].partition("\n\n")[0]
    rows = [line.split("|")[1] for line in table.splitlines()[2:]]
    found = [name for row in rows for name in re.findall(r"`([A-Z]\w+)`", row)]
    assert found == [measure.value for measure in Measure]


def test_nothing_is_written_without_a_value(capsys: pytest.CaptureFixture[str]) -> None:
    write({})
    assert capsys.readouterr().out == ""


# What is shown


@pytest.mark.parametrize("title", widgets("metric"))
def test_a_graph_shows_metrics_that_are_written(title: str, written: set[Stream]) -> None:
    properties = widgets("metric")[title]
    found = shown(properties)
    assert found
    assert len({stream for stream in found}) == len(found) or "Time to pickup" in title
    for stream in found:
        assert stream in written | of_aws(), stream
    assert properties["region"] == "eu-west-1"
    assert properties["period"] in (3600, 86400)
    assert properties["stat"] in ("Sum", "Maximum", "p50")


@pytest.mark.parametrize(
    "alarm", [*ALARMS.values(), *OF_THE_ORGANIZATION.values()], ids=[*ALARMS, *OF_THE_ORGANIZATION]
)
def test_an_alarm_watches_a_metric_that_is_written(
    alarm: dict[str, Any], written: set[Stream]
) -> None:
    queues = {("AWS/SQS", "ApproximateNumberOfMessagesVisible")}
    stream = watched(alarm)
    assert stream in written | of_aws() or stream[:2] in queues


def of_aws() -> set[Stream]:
    """The metrics that AWS itself writes of this stack's functions and of its fleet."""
    machines = (
        "ExecutionsSucceeded",
        "ExecutionsFailed",
        "ExecutionsTimedOut",
        "ExecutionsAborted",
    )
    return {
        *(("AWS/States", name, frozenset({("StateMachineArn", FLEET)})) for name in machines),
        *(
            ("AWS/Lambda", "Errors", frozenset({("FunctionName", name)}))
            for function in (*FUNCTIONS, "AuditOrganization")
            for name in (f"{STACK}-{function}", f"<{function}Function>")
        ),
    }


def test_every_outcome_is_in_the_graph() -> None:
    (properties,) = [p for title, p in widgets("metric").items() if "by outcome" in title]
    found = [dict(dims)["Outcome"] for _, _, dims in shown(properties)]
    assert sorted(found) == sorted(outcomes.OUTCOMES)


def test_the_errors_of_every_function_are_shown() -> None:
    (properties,) = [p for title, p in widgets("metric").items() if "Errors" in title]
    found = {dict(dims)["FunctionName"] for _, _, dims in shown(properties)}
    assert found == {f"{STACK}-{function}" for function in FUNCTIONS}


def test_every_alarm_is_shown() -> None:
    (properties,) = widgets("alarm").values()
    # The dashboard cannot name what a parameter may leave out.
    always = [name for name in ALARMS if "Condition" not in RESOURCES[name]]
    assert set(properties["alarms"]) == {f"<{name}.Arn>" for name in always}


@pytest.mark.parametrize("days", [0, 45, 3650])
def test_the_line_of_the_oldest_key_is_where_the_parameter_is(days: int) -> None:
    (line,) = (
        line
        for widget in dashboard(MaxKeyAgeDays=days)["widgets"]
        for line in widget["properties"].get("annotations", {}).get("horizontal", [])
    )
    assert line["value"] == days


def test_one_key_that_the_audit_finds_too_old_calls_a_person() -> None:
    """Its age in whole days is equal to the limit for a day after the audit has found it."""
    alarm = ALARMS["ManagedKeyTooOldAlarm"]
    assert (alarm["MetricName"], alarm["Threshold"]) == (Measure.MANAGED_KEYS_OVER_AGE, 0)


@pytest.mark.parametrize(
    ("state", "called"), [("ENABLED", ["<NotificationTopic>"]), ("DISABLED", "<AWS::NoValue>")]
)
def test_runs_that_do_not_even_start_call_a_person_where_there_is_a_schedule(
    state: str, called: object
) -> None:
    alarm = Resolver({"FleetScheduleState": state})(ALARMS["ManagedKeyTooOldAlarm"])
    assert alarm["InsufficientDataActions"] == called
    assert alarm["TreatMissingData"] == "missing"


def test_widgets_are_on_the_grid_and_do_not_overlap() -> None:
    cells: list[set[tuple[int, int]]] = []
    for widget in dashboard()["widgets"]:
        x, y, width, height = (widget[side] for side in ("x", "y", "width", "height"))
        assert 0 <= x < x + width <= GRID_COLUMNS
        assert y >= 0
        cells.append({(x + dx, y + dy) for dx in range(width) for dy in range(height)})
    assert not any(one & other for one, other in combinations(cells, 2))
    rows = max(y for widget in cells for _, y in widget) + 1
    assert sum(len(widget) for widget in cells) == rows * GRID_COLUMNS, "there is a hole"


def test_the_dashboards_name_is_different_in_every_region() -> None:
    """Dashboards belong to the account: the same name in two Regions is the same dashboard."""
    name = Resolver()(RESOURCES["Dashboard"]["Properties"]["DashboardName"])
    assert name == f"{STACK}-eu-west-1"


# What calls people


@pytest.mark.parametrize("name", ALARMS)
def test_an_alarm_reaches_people_and_says_what_to_do(name: str) -> None:
    alarm = ALARMS[name]
    assert alarm["AlarmActions"] == [{"Ref": "NotificationTopic"}]
    assert alarm["ComparisonOperator"] == "GreaterThanThreshold"
    assert alarm["Period"] * alarm["EvaluationPeriods"] <= 7 * 86400  # CloudWatch's limit
    description = alarm["AlarmDescription"]
    assert 100 < len(description) <= 1024  # CloudWatch's limit
    assert len(description.split(". ")) >= 2, "what happened, and what to do"


def test_only_the_age_of_keys_is_unknown_without_data() -> None:
    """Where a value is written only when something happens, silence is well; an audit is not."""
    missing = {name: alarm["TreatMissingData"] for name, alarm in ALARMS.items()}
    assert missing.pop("ManagedKeyTooOldAlarm") == "missing"
    assert set(missing.values()) == {"notBreaching"}
