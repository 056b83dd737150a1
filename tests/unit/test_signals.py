"""What signals say, and how often a bad one is counted."""

from __future__ import annotations

from keyturn.model.rotation import Health, Rotation
from keyturn.model.signals import ALARM, HEALTH_URL, SignalState, counted
from keyturn.rotate import signals
from tests.unit.worlds import NOW, POLICY, alarm


def rotation(health: Health | None, *, url: str | None = "https://example.com/health") -> Rotation:
    policy = POLICY.model_copy(update={"health_url": url})
    found = Rotation(user_name="u", policy=policy, secret_name="machine-user/u", started_at=NOW)
    found.seen.health = health
    found.seen.bad_health_in_a_row = 0 if health and health.good else 1
    return found


def test_bad_answers_are_counted_until_a_better_one() -> None:
    bad, good = alarm(SignalState.BAD), alarm(SignalState.OK)
    other = alarm(SignalState.BAD, "latency")
    once = counted([], [bad])
    twice = counted(once, [bad, other])
    assert [signal.bad_in_a_row for signal in twice] == [2, 1]
    assert [signal.bad_in_a_row for signal in counted(twice, [good, other])] == [0, 2]


def test_an_alarm_counts_at_once_and_a_health_url_the_second_time() -> None:
    limits = {source.kind: source.limit for source in signals.SOURCES}
    assert limits == {ALARM: 1, HEALTH_URL: 2}


def test_a_health_answer_is_a_signal() -> None:
    def answered(health: Health | None) -> tuple[SignalState, str]:
        (signal,) = signals.answered(rotation(health))
        assert str(signal) == "the health URL"
        return signal.state, signal.words

    assert answered(Health(good=True, status=204)) == (SignalState.OK, "status 204")
    assert answered(Health(good=False, problem="no answer")) == (SignalState.BAD, "no answer")
    assert answered(None) == (SignalState.UNCLEAR, "it was not asked")


def test_without_a_health_url_there_is_no_such_signal() -> None:
    assert signals.answered(rotation(None, url=None)) == []
