"""The program in the container, with clients that refuse and a file that changes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest
from botocore.exceptions import ClientError


class Refusing:
    """Stands in for a client: refuses everything while its key is not known."""

    unknown: ClassVar[set[str]] = set()

    def __init__(self, key: str) -> None:
        self.key = key

    def work(self) -> str:
        """Return the key that signed."""
        if self.key in self.unknown:
            raise ClientError({"Error": {"Code": "InvalidClientTokenId"}}, "ListQueues")
        return self.key


@pytest.fixture
def mounted(
    example: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> tuple[Any, Path]:
    """A `MountedKey` on AKIA1, whose clients are `Refusing`, and its file."""
    module = example("mounted_key")
    monkeypatch.setattr(module.Key, "client", lambda key, _: Refusing(key.access_key_id))
    monkeypatch.setattr(Refusing, "unknown", set())
    file = tmp_path / "key.json"
    hold(file, "AKIA1")
    return module.MountedKey("sqs", file), file


def hold(file: Path, key: str) -> None:
    file.write_text(json.dumps({"AccessKeyId": key, "SecretAccessKey": "hush"}))


def test_a_new_key_in_the_file_is_used_for_the_next_call(mounted: tuple[Any, Path]) -> None:
    key, file = mounted
    assert key.call(Refusing.work) == "AKIA1"
    hold(file, "AKIA2")
    assert key.call(Refusing.work) == "AKIA2"
    assert key.retried_after_reread == 0


def test_a_key_that_is_not_known_everywhere_yet_gives_way_to_the_one_before_it(
    mounted: tuple[Any, Path],
) -> None:
    key, file = mounted
    hold(file, "AKIA2")
    Refusing.unknown.add("AKIA2")
    assert key.call(Refusing.work) == "AKIA1"
    assert key.retried_after_reread == 1
    Refusing.unknown.clear()
    assert key.call(Refusing.work) == "AKIA2"


def test_a_key_that_is_refused_is_looked_for_in_the_file(mounted: tuple[Any, Path]) -> None:
    """An EMERGENCY: the key dies between the look at the file and the call."""
    key, file = mounted

    def work(client: Refusing) -> str:
        if client.key == "AKIA1":
            Refusing.unknown.add("AKIA1")
            hold(file, "AKIA2")
        return client.work()

    assert key.call(work) == "AKIA2"
    assert key.retried_after_reread == 1


@pytest.mark.parametrize("content", [None, "", '{"AccessKeyId": "AKIA2"}'])
def test_a_file_without_a_key_changes_nothing(
    mounted: tuple[Any, Path], content: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    key, file = mounted
    if content is None:
        file.unlink()
    else:
        file.write_text(content)
    assert key.call(Refusing.work) == "AKIA1"
    assert "could not read the key file" in capsys.readouterr().err


def test_when_both_keys_are_refused_the_call_fails(mounted: tuple[Any, Path]) -> None:
    key, file = mounted
    hold(file, "AKIA2")
    Refusing.unknown |= {"AKIA1", "AKIA2"}
    with pytest.raises(ClientError, match="InvalidClientTokenId"):
        key.call(Refusing.work)


def test_any_other_error_is_not_tried_again(mounted: tuple[Any, Path]) -> None:
    key, _ = mounted
    calls = []

    def work(client: Refusing) -> None:
        calls.append(client.key)
        raise ClientError({"Error": {"Code": "AccessDenied"}}, "ListQueues")

    with pytest.raises(ClientError, match="AccessDenied"):
        key.call(work)
    assert calls == ["AKIA1"]
