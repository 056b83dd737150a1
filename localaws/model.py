"""What the control client and the emulator exchange: plain data, JSON on the wire."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FaultKind = Literal["error_before", "lost_answer", "throttle", "delay", "kill_worker"]
KillMoment = Literal["before", "after"]
LostAnswer = Literal["dropped", "http_500"]


@dataclass(frozen=True, kw_only=True)
class LastUsedModel:
    """How badly GetAccessKeyLastUsed tells the truth; the default is an honest, immediate clock.

    coalesce_seconds: after a use that was recorded, further uses within this span are not.
    truncate_to_minute: dates lose their seconds.
    lag_seconds: a recorded use becomes visible this late: a fixed number, or (low, high) for a
        random lag of each use, drawn from `seed`.
    """

    coalesce_seconds: float = 0
    truncate_to_minute: bool = False
    lag_seconds: float | tuple[float, float] = 0
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class CredentialReportModel:
    """How IAM makes credential reports; all in seconds.

    generation_seconds: from GenerateCredentialReport until the report is there.
    reuse_seconds: a report that is younger is not made anew. AWS: 4 hours; the default is to make
        one each time, because few tests want an old one.
    lifetime_seconds: an older report is no longer given out.
    """

    generation_seconds: float = 0.5
    reuse_seconds: float = 0
    lifetime_seconds: float = 14_400


@dataclass(frozen=True, kw_only=True)
class FaultRule:
    """One fault: which call it hits, the how-manieth of them, and what happens then.

    A rule hits a call when every given condition holds:
    action: "service:Action" as in IAM policies, e.g. "iam:CreateAccessKey",
        "secretsmanager:PutSecretValue", or "lambda:InvokeFunction" for a Lambda task of a state
        machine. "*" stands for any.
    user: an IAM user whom the call is about: the caller, a user name or access key of the user
        in the request, a secret called <prefix><user>, the event of the Lambda invocation that
        made the call, or the input of the execution whose task it is.
    secret: the name of the secret in the request.
    function: part of the Lambda function's name: the function that made the call, or, for
        "lambda:InvokeFunction", the one that is invoked.
    state: the state of a state machine that the call is made for.

    Of the calls that match, number `nth` (from 1) is hit, and `count` - 1 more after it.

    kind:
        error_before: answers `status` and `code`; nothing happens.
        throttle: answers as the service does when it throttles; nothing happens.
        lost_answer: the effect happens; the caller sees the connection drop, or status 500.
        delay: waits `delay_seconds`, then goes on as usual.
        kill_worker: kills the Lambda worker that made the call, `moment` before or after the
            effect. The invocation then fails with the error name `surfaces_as`.
    """

    action: str
    kind: FaultKind
    user: str | None = None
    secret: str | None = None
    function: str | None = None
    state: str | None = None
    nth: int = 1
    count: int = 1
    status: int = 500
    code: str = "ServiceFailure"
    message: str = "Injected fault"
    delay_seconds: float = 0
    answer: LostAnswer = "dropped"
    moment: KillMoment = "before"
    surfaces_as: str = "Lambda.Unknown"


@dataclass(frozen=True, kw_only=True)
class FiredFault:
    """One time that a rule struck. `rule` is the id that `inject` returned, `time` is Unix time."""

    rule: int
    time: float
    action: str
    principal: str


@dataclass(frozen=True, kw_only=True)
class ApiCall:
    """One API call as the emulator saw it.

    time: Unix time, seconds. principal: ARN of the user or role session, "" when unknown.
    service and action: as in IAM policies ("iam", "CreateAccessKey"). status: HTTP status;
    error: the error code of the answer or "". source: "http", or "states" for the tasks of state
    machines. about: the users and resources that the call names.
    """

    time: float
    access_key_id: str
    principal: str
    service: str
    action: str
    region: str
    status: int
    error: str
    user_agent: str
    source: str
    about: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Invocation:
    """One invocation of a function, whoever asked for it.

    time: Unix time of its beginning. function: the function's name. seconds: how long the handler
    took. init_seconds: what a cold start took before it, from the fork of an environment to the
    handler's module being imported; None for a warm one. error: its class, or "".
    """

    time: float
    function: str
    seconds: float
    init_seconds: float | None
    error: str


@dataclass(frozen=True, kw_only=True)
class Change:
    """A user's keys and secret right after a call that may have changed them.

    time: Unix time. action: "iam:UpdateAccessKey". principal, function: who made the call.
    keys: access key id to status. labels: staging label to VersionId. holds: VersionId to the
    access key id that it holds. tags: of the secret. used: access key id to the Unix time of its
    last call in truth, calls of `sts` left out.
    """

    time: float
    action: str
    principal: str
    function: str
    keys: dict[str, str]
    labels: dict[str, str]
    holds: dict[str, str]
    tags: dict[str, str]
    used: dict[str, float]

    @property
    def current(self) -> str | None:
        """The access key id in AWSCURRENT."""
        return self.key("AWSCURRENT")

    def key(self, label: str) -> str | None:
        """The access key id in the version that a label is on."""
        version = self.labels.get(label)
        return self.holds.get(version) if version is not None else None
