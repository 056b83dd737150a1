"""The execution input of the state machines: parsed strictly, refused in one sentence."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    StrictBool,
    ValidationError,
    create_model,
    model_validator,
)
from pydantic.alias_generators import to_camel

from keyturn.model.durations import LIMITS, LONGEST_SECONDS
from keyturn.model.errors import RequestRejected

_Model = TypeVar("_Model", bound=BaseModel)

Action = Literal["ROTATE", "BACK_OUT"]
Mode = Literal["STANDARD", "EMERGENCY"]

# IAM User Guide, IAM quotas: a user name has 1 to 64 characters of [\w+=,.@-], ASCII only.
_USER_NAME = r"^[A-Za-z0-9_+=,.@-]{1,64}$"
UserName = Annotated[str, Field(pattern=_USER_NAME, strict=True)]
# IAM API reference, AccessKeyId: 16 to 128 word characters.
AccessKeyId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_]{16,128}$", strict=True)]
LONGEST_ARN = 2048
ExecutionArn = Annotated[str, Field(min_length=1, max_length=LONGEST_ARN, strict=True)]
# Longer or odder names of unknown fields are not quoted: somebody may have pasted a secret there.
_QUOTABLE = re.compile(r"[A-Za-z0-9_.]{1,32}")
Seconds = Annotated[int, Field(ge=0, le=LONGEST_SECONDS, strict=True)]
PositiveSeconds = Annotated[int, Field(ge=1, le=LONGEST_SECONDS, strict=True)]


class Strict(BaseModel):
    """A part of the input: camelCase names, nothing unknown, nothing quoted in errors."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        alias_generator=to_camel,
        hide_input_in_errors=True,
    )


if TYPE_CHECKING:

    class TimingRequest(Strict):
        """Durations that the input may set for one execution, in seconds."""

else:
    TimingRequest = create_model(
        "TimingRequest",
        __base__=Strict,
        **{
            name: (PositiveSeconds | None if limits.least else Seconds | None, None)
            for name, limits in LIMITS.items()
        },
    )


class Recovery(Strict):
    """Set by the rule that backs out a dead execution; people leave it out.

    `also` are the executions that the dead one was itself to back out: it may have died before it
    took the claim over from them.
    """

    execution_arn: ExecutionArn
    generation: Annotated[int, Field(ge=1, le=3, strict=True)]
    also: Annotated[tuple[ExecutionArn, ...], Field(max_length=3)] = ()


class RotateRequest(Strict):
    """The input of RotateKey."""

    user_name: UserName | None = None
    access_key_id: AccessKeyId | None = None
    action: Action = "ROTATE"
    mode: Mode = "STANDARD"
    force: StrictBool = False
    reason: Annotated[str, Field(max_length=1024, strict=True)] = ""
    timing: TimingRequest = TimingRequest()
    recovery: Recovery | None = None

    @model_validator(mode="after")
    def _one_subject(self) -> RotateRequest:
        if self.user_name is None and self.access_key_id is None:
            raise ValueError("give userName or accessKeyId")
        if self.user_name and self.access_key_id and self.mode != "EMERGENCY":
            raise ValueError(
                "give either userName or accessKeyId; both together only in mode EMERGENCY"
            )
        if self.action == "BACK_OUT" and self.mode == "EMERGENCY":
            raise ValueError("mode EMERGENCY goes with action ROTATE only")
        if self.recovery is not None and self.action != "BACK_OUT":
            raise ValueError("recovery goes with action BACK_OUT only")
        return self


class RetireRequest(Strict):
    """The input of RetireKey."""

    user_name: UserName
    old_access_key_id: AccessKeyId
    version_id: Annotated[str, Field(min_length=32, max_length=64, strict=True)]
    retention_seconds: Seconds


class FleetRequest(Strict):
    """The input of RotateFleet. `user_names` are rotated whatever the age of their keys."""

    dry_run: StrictBool = False
    max_rotations: Annotated[int, Field(ge=1, le=5_000, strict=True)] | None = None
    user_names: Annotated[tuple[UserName, ...], Field(min_length=1, max_length=5_000)] | None = None


def is_user_name(text: object) -> bool:
    """Whether a value is a text that IAM allows as a user name."""
    return isinstance(text, str) and re.fullmatch(_USER_NAME[1:-1], text) is not None


def parse_rotate_request(data: object) -> RotateRequest:
    """Parse the input of RotateKey.

    Raises:
        RequestRejected: one sentence that names the first wrong field and what is expected.
    """
    return _parse(RotateRequest, data)


def parse_retire_request(data: object) -> RetireRequest:
    """Parse the input of RetireKey; raises RequestRejected as `parse_rotate_request` does."""
    return _parse(RetireRequest, data)


def parse_fleet_request(data: object) -> FleetRequest:
    """Parse the input of RotateFleet; raises RequestRejected as `parse_rotate_request` does."""
    return _parse(FleetRequest, data)


_EXPECTATIONS: dict[str, str] = {
    "userName": "an IAM user name (1 to 64 letters, digits and _+=,.@-)",
    "accessKeyId": "an access key id (16 to 128 letters, digits and _)",
    "oldAccessKeyId": "an access key id (16 to 128 letters, digits and _)",
    "action": "ROTATE or BACK_OUT",
    "mode": "STANDARD or EMERGENCY",
    "force": "true or false",
    "reason": "text of at most 1024 characters",
    "timing": "an object of durations in whole seconds",
    "recovery": "left to the rule that backs out dead executions",
    "dryRun": "true or false",
    "maxRotations": "a whole number from 1 to 5000",
    "userNames": "a list of 1 to 5000 IAM user names (1 to 64 letters, digits and _+=,.@-)",
    "versionId": "the VersionId of the rotation's secret version (32 to 64 characters)",
}


def _parse(model: type[_Model], data: object) -> _Model:
    if not isinstance(data, dict):
        such_as = '{"dryRun": true}' if model is FleetRequest else '{"userName": "..."}'
        raise RequestRejected(f"the input must be a JSON object such as {such_as}")
    try:
        return model.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    raise RequestRejected(_sentence(first["type"], first["loc"], first["msg"]))


def _sentence(kind: str, location: tuple[Any, ...], message: str) -> str:
    path = ".".join(str(part) for part in location)
    if kind == "extra_forbidden":
        named = f"field {path!r}" if _QUOTABLE.fullmatch(path) else "field"
        return f"unknown {named} in the input; see the README for the fields it may have"
    if kind == "missing":
        return f"the field {path} is missing; expected {_expected(path)}"
    if not path:
        return f"the input is not consistent: {message.removeprefix('Value error, ')}"
    return f"the field {path} must be {_expected(path)}"


def _expected(path: str) -> str:
    if path.endswith("Seconds"):
        least = "0 (or 1, where 0 makes no sense)"
        return f"a whole number of seconds from {least} to {LONGEST_SECONDS}"
    if path.startswith("userNames."):  # one of the list
        return _EXPECTATIONS["userName"]
    return _EXPECTATIONS.get(path.split(".", maxsplit=1)[0], "as the README says")
