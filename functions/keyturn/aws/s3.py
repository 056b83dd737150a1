"""S3: the report bucket, in which the functions of a fleet run hand on what grows with the users.

The bucket encrypts by default. Writing an object again replaces it, so every write may be retried.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from keyturn.aws import calls
from keyturn.model.errors import AwsRefused, HandoverMissing

_CONTENT_TYPES = {
    ".csv": "text/csv; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".json": "application/json",
}


def upload(bucket: str, key: str, path: Path, *, metadata: Mapping[str, str] | None = None) -> None:
    """Write a file as an object."""
    with path.open("rb") as file, calls.translated("s3:PutObject"):
        calls.s3().put_object(
            Bucket=bucket,
            Key=key,
            Body=file,
            ContentType=_CONTENT_TYPES[path.suffix],
            Metadata=dict(metadata or {}),
        )


def download(bucket: str, key: str, path: Path, *, at_most: int) -> Mapping[str, str] | None:
    """Write an object to a file and return its metadata, or None when there is no such object.

    Raises:
        AwsRefused: denied, or larger than `at_most` bytes.
    """
    with calls.translated("s3:GetObject"):
        try:
            found = calls.s3().get_object(Bucket=bucket, Key=key)
        except ClientError as error:
            if calls.error_code(error) == "NoSuchKey":
                return None
            raise
        if found["ContentLength"] > at_most:
            found["Body"].close()
            raise AwsRefused(f"{key} has {found['ContentLength']:,} bytes, more than {at_most:,}")
        with path.open("wb") as file:
            shutil.copyfileobj(found["Body"], file)
    return found["Metadata"]


def folders(bucket: str, prefix: str) -> list[str]:
    """Return the names directly below a prefix, without the slash that ends them."""
    with calls.translated("s3:ListBucket"):
        pages = calls.s3().get_paginator("list_objects_v2")
        return [
            folder["Prefix"].removeprefix(prefix).rstrip("/")
            for page in pages.paginate(Bucket=bucket, Prefix=prefix, Delimiter="/")
            for folder in page.get("CommonPrefixes", [])
        ]


def write_json(bucket: str, key: str, document: Any) -> None:
    """Write a JSON document as an object."""
    with calls.translated("s3:PutObject"):
        calls.s3().put_object(
            Bucket=bucket,
            Key=key,
            Body=json.dumps(document).encode(),
            ContentType=_CONTENT_TYPES[".json"],
        )


def read_json(bucket: str, key: str) -> Any:
    """Return an object's JSON document, or None when there is no such object."""
    with calls.translated("s3:GetObject"):
        try:
            found = calls.s3().get_object(Bucket=bucket, Key=key)
        except ClientError as error:
            if calls.error_code(error) == "NoSuchKey":
                return None
            raise
        text = found["Body"].read()
    return json.loads(text)


def require_json(bucket: str, key: str) -> Any:
    """Return an object's JSON document.

    Raises:
        HandoverMissing: there is no such object.
    """
    found = read_json(bucket, key)
    if found is None:
        raise HandoverMissing(
            f"s3://{bucket}/{key} is missing, though this run has written it; rotations that were "
            "started go on, start another run for the others"
        )
    return found
