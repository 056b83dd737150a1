"""Starts the emulator as a child process and stops it, whatever happens to us."""

from __future__ import annotations

import atexit
import contextlib
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import boto3
from botocore.config import Config

from localaws.control import Control
from localaws.errors import LocalAwsError

READY_DEADLINE_SECONDS = 60.0
STOP_DEADLINE_SECONDS = 10.0
TAIL_LINES = 25
ADMIN_ACCESS_KEY_ID = "AKIALOCALADMIN000001"
ADMIN_SECRET_ACCESS_KEY = "local-administrator-of-the-emulator"  # noqa: S105 - opens nothing real
LOOPBACK = "127.0.0.1"
# AWS waits so long (seconds) before it repeats an asynchronous invocation. In real time MiniStack
# waits one and two seconds.
LAMBDA_RETRIES = {"LAMBDA_ASYNC_RETRY_BASE_SECONDS": "60", "LAMBDA_ASYNC_RETRY_MAX_SECONDS": "300"}


class LocalSession(boto3.Session):
    """A session whose clients talk to the emulator unless told otherwise."""

    endpoint_url: str

    def client(self, *args: Any, **kwargs: Any) -> Any:
        """As boto3's, with the emulator's endpoint and short timeouts as defaults."""
        kwargs.setdefault("endpoint_url", self.endpoint_url)
        kwargs["config"] = client_config().merge(kwargs.get("config") or Config())
        return super().client(*args, **kwargs)

    def resource(self, *args: Any, **kwargs: Any) -> Any:
        """As boto3's, with the emulator's endpoint as the default."""
        kwargs.setdefault("endpoint_url", self.endpoint_url)
        return super().resource(*args, **kwargs)


def client_config() -> Config:
    """No proxies, path-style S3 addresses, and timeouts (seconds) that fit a local server."""
    return Config(
        proxies={},
        connect_timeout=5,
        read_timeout=60,
        retries={"mode": "standard", "total_max_attempts": 3},
        s3={"addressing_style": "path"},
        max_pool_connections=50,
        inject_host_prefix=False,  # no host sync-127.0.0.1
    )


class Account:
    """One account of a running emulator, in one Region, as its administrator sees it.

    `work_dir` is the emulator's temporary directory; it goes with the emulator.
    """

    def __init__(
        self,
        *,
        endpoint_url: str,
        region: str,
        account_id: str,
        work_dir: Path,
        access_key_id: str = ADMIN_ACCESS_KEY_ID,
    ) -> None:
        self.endpoint_url = endpoint_url
        self.region = region
        self.account_id = account_id
        self.work_dir = work_dir
        self.control = Control(endpoint_url)
        self._access_key_id = access_key_id
        self._session = self.session()
        self._making_clients = threading.Lock()

    def account(self, account_id: str | None = None, *, region: str | None = None) -> Account:
        """Another account of the same emulator, or this one, in this Region or another.

        An access key id of 12 digits is the administrator of the account with that number.
        """
        account_id = account_id or self.account_id
        return Account(
            endpoint_url=self.endpoint_url,
            region=region or self.region,
            account_id=account_id,
            work_dir=self.work_dir,
            access_key_id=account_id,
        )

    def environment(self) -> dict[str, str]:
        """Variables that point a child process at the emulator, as this account's administrator.

        Merge them over `os.environ`: they also keep the person's own profiles out.
        """
        profile = self.work_dir / f"config-{self.region}"
        profile.write_text(
            f"[default]\nregion = {self.region}\nendpoint_url = {self.endpoint_url}\n"
        )
        return {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": self._access_key_id,
            "AWS_SECRET_ACCESS_KEY": ADMIN_SECRET_ACCESS_KEY,
            "AWS_SESSION_TOKEN": "",
            "AWS_DEFAULT_REGION": self.region,
            "AWS_REGION": self.region,
            "AWS_PROFILE": "default",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": str(profile),
            "AWS_SHARED_CREDENTIALS_FILE": str(self.work_dir / "no-such-file"),
            "AWS_PAGER": "",
            "NO_PROXY": "127.0.0.1,localhost",
            "no_proxy": "127.0.0.1,localhost",
            "SAM_CLI_TELEMETRY": "0",
        }

    def session(self) -> boto3.Session:
        """A boto3 session of the administrator; its clients come here."""
        session = LocalSession(
            aws_access_key_id=self._access_key_id,
            aws_secret_access_key=ADMIN_SECRET_ACCESS_KEY,
            region_name=self.region,
        )
        session.endpoint_url = self.endpoint_url
        return session

    def client(
        self,
        name: str,
        *,
        access_key_id: str | None = None,
        secret_access_key: str | None = None,
    ) -> Any:
        """A boto3 client of the administrator, or of the given key."""
        make: Any = self._session.client
        with self._making_clients:  # one session loads each service's model once
            return make(
                name,
                aws_access_key_id=access_key_id or self._access_key_id,
                aws_secret_access_key=secret_access_key or ADMIN_SECRET_ACCESS_KEY,
            )


class LocalAws(Account):
    """A running emulator and its first account. Use `localaws.start()`.

    Stop it with `stop()` or as a context manager.
    """

    def __init__(
        self,
        *,
        process: subprocess.Popen[bytes],
        lifeline: int,
        endpoint_url: str,
        region: str,
        account_id: str,
        log_path: Path,
        work_dir: Path,
    ) -> None:
        super().__init__(
            endpoint_url=endpoint_url, region=region, account_id=account_id, work_dir=work_dir
        )
        self._process = process
        self._lifeline: int | None = lifeline
        self.log_path = log_path
        atexit.register(self.stop)

    @property
    def pid(self) -> int:
        """The process id of the emulator."""
        return self._process.pid

    def wait(self) -> None:
        """Block until the emulator ends by itself."""
        self._process.wait()

    def stop(self) -> None:
        """Stop the emulator and its workers. Calling it again does nothing."""
        if self._lifeline is None:
            return
        atexit.unregister(self.stop)
        os.close(self._lifeline)  # the emulator sees the end of its lifeline and exits by itself
        self._lifeline = None
        try:
            self._process.wait(STOP_DEADLINE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self.work_dir, ignore_errors=True)

    def __enter__(self) -> LocalAws:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()


def start(
    *,
    region: str = "us-east-1",
    account_id: str = "123456789012",
    log_dir: Path | None = None,
    overlay: bool = True,
    preload: bool = True,
    clock: Literal["real", "moved"] = "real",
) -> LocalAws:
    """Start an emulator on a free loopback port and wait until it answers.

    Its log goes to `log_dir`, or to a temporary directory that `stop()` removes. The emulator
    ends with this process, however this process ends. `overlay=False` starts MiniStack as it
    comes, without the control endpoints, to see which gaps it still has. `preload=False` lets each
    Lambda worker import everything by itself: its cold starts are then as dear as they are.
    With the clock "moved", time goes on to the next timer when nobody is busy (see
    `localaws.clock`); who drives it from outside joins it with `control.join()`.
    """
    work_dir = Path(tempfile.mkdtemp(prefix="localaws-"))
    log_path = (log_dir or work_dir) / f"{work_dir.name}.log"
    log_path.parent.mkdir(parents=True, exist_ok=True)
    lifeline_read, lifeline_write = os.pipe()
    ready_read, ready_write = os.pipe()
    with socket.socket() as listener:
        listener.bind((LOOPBACK, 0))
        port = listener.getsockname()[1]
        theirs = (listener.fileno(), lifeline_read, ready_write)
        with log_path.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "localaws.server", *map(str, theirs)]
                + ([] if overlay else ["bare"]),
                env=_server_environment(region, account_id, work_dir, port)
                | ({} if preload else {"LOCALAWS_PRELOAD": "no"})
                | {"LOCALAWS_CLOCK": clock}
                | (LAMBDA_RETRIES if clock == "moved" else {}),
                cwd=Path(__file__).parent.parent,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=theirs,
                # Ctrl-C in a terminal reaches us alone; the lifeline passes the word on.
                process_group=0,
            )
    os.close(lifeline_read)
    os.close(ready_write)
    try:
        _wait_until_ready(ready_read, process)
    except BaseException as error:
        os.close(lifeline_write)
        process.kill()
        process.wait()
        tail = "\n".join(log_path.read_text(errors="replace").splitlines()[-TAIL_LINES:])
        shutil.rmtree(work_dir, ignore_errors=True)
        if isinstance(error, LocalAwsError):
            raise LocalAwsError(f"{error}. The end of its log:\n{tail}") from None
        raise
    finally:
        os.close(ready_read)
    return LocalAws(
        process=process,
        lifeline=lifeline_write,
        endpoint_url=f"http://{LOOPBACK}:{port}",
        region=region,
        account_id=account_id,
        log_path=log_path,
        work_dir=work_dir,
    )


def _wait_until_ready(ready: int, process: subprocess.Popen[bytes]) -> None:
    readable, _, _ = select.select([ready], [], [], READY_DEADLINE_SECONDS)
    if not readable:
        raise LocalAwsError(f"The emulator was not ready after {READY_DEADLINE_SECONDS:g} s")
    if not os.read(ready, 16):
        process.wait(STOP_DEADLINE_SECONDS)
        raise LocalAwsError(f"The emulator ended with status {process.returncode}")


def _server_environment(region: str, account_id: str, work_dir: Path, port: int) -> dict[str, str]:
    """A closed list of variables: nothing of the person's AWS settings reaches the emulator."""
    kept = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "COVERAGE_PROCESS_START", "PYTHONPATH")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    return environment | {
        "HOME": str(work_dir),
        "TMPDIR": str(work_dir),
        "TZ": "UTC",
        "PYTHONUNBUFFERED": "1",
        "OBJC_DISABLE_INITIALIZE_FORK_SAFETY": "YES",  # macOS; the Lambda workers are forked
        "AUTH": "true",
        "GATEWAY_PORT": str(port),
        "AWS_ENDPOINT_URL": f"http://{LOOPBACK}:{port}",
        "AWS_ACCESS_KEY_ID": ADMIN_ACCESS_KEY_ID,
        "AWS_SECRET_ACCESS_KEY": ADMIN_SECRET_ACCESS_KEY,
        "AWS_EC2_METADATA_DISABLED": "true",
        "MINISTACK_ACCOUNT_ID": account_id,
        "MINISTACK_REGION": region,
        "MINISTACK_HOST": "localhost",
        "BIND_HOST": LOOPBACK,
        "S3_DATA_DIR": str(work_dir / "s3"),
        "LOG_LEVEL": "INFO",
        # No side servers, no Docker, no limit of our own making on concurrency.
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "SFTP_HOST": LOOPBACK,
        "DOCKER_HOST": f"unix://{work_dir}/no-docker.sock",
        "LAMBDA_EXECUTOR": "local",
        "LAMBDA_ACCOUNT_CONCURRENCY": "0",
    }


@contextlib.contextmanager
def until_signalled() -> Iterator[None]:
    """Leave the block quietly on Ctrl-C or SIGTERM, whatever it is doing."""

    def leave(*_: object) -> None:
        raise KeyboardInterrupt

    # SIGINT too: started in the background of a script, a process inherits that it is ignored.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, leave)
    with contextlib.suppress(KeyboardInterrupt):
        yield
