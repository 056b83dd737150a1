"""Lambda workers that behave as AWS's do.

Gaps in MiniStack 1.5.33 that this closes:
- a Python exception's class is reported as `Runtime.HandlerError` (here: the class name, with
  message and stack trace, as the Python runtime reports it);
- an exception in a handler kills its warm worker (here: the worker serves on);
- a worker that dies is reported as an untyped error (here: `Runtime.ExitError`);
- every concurrent invocation starts one more interpreter, without bound (here: environments are
  forked from one preloaded process, and invocations beyond the bound wait);
- workers inherit the emulator's own environment (here: what AWS sets, and nothing else);
- all workers of a function share one set of role credentials (here: each has its own, so that a
  call can be traced to the invocation that made it, and its worker killed).
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import secrets
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ministack.core.lambda_runtime import _RESERVED_RUNTIME_ENV_VARS
from ministack.services import lambda_svc, sts

from localaws.clock import clock
from localaws.model import Invocation

Config = dict[str, Any]
Result = dict[str, Any]

# More invocations of one function than this at the same time wait for each other.
WORKERS_PER_FUNCTION = 16
# More cold starts than this at the same time wait for each other: they are all processor time.
COLD_STARTS_AT_ONCE = 4
# Idle environments kept of all functions together; each holds some 35 MB of its own.
MOST_IDLE = 64
INIT_TIMEOUT_SECONDS = 30.0
READ_BYTES = 1 << 16
INVOCATIONS_KEPT = 50_000


@dataclass(eq=False)
class Worker:
    """One execution environment: a process, its channel, its output, and what it is doing."""

    pid: int
    channel: socket.socket
    output: int
    access_key_id: str
    function_name: str
    event: Any = None
    request_id: str = ""
    idle_since: float = 0.0
    # Set by an injected fault: the error name under which the invocation is to fail.
    killed_as: str | None = None
    _unread: bytes = b""

    def kill(self) -> None:
        """Kill the process at once."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def discard(self) -> None:
        """Kill the process and forget its credentials."""
        self.kill()
        sts._sessions.pop(self.access_key_id, None)
        self.channel.close()
        os.close(self.output)

    def exchange(
        self, message: dict[str, Any] | None, timeout: float
    ) -> tuple[dict[str, Any] | None, str, bool]:
        """Send a message and wait: the answer (None if none came), the output, whether it died."""
        if message is not None:
            try:
                self.channel.sendall(json.dumps(message).encode() + b"\n")
            except OSError:
                return None, self._drain(), True
        deadline = time.monotonic() + timeout
        printed: list[bytes] = []
        with selectors.DefaultSelector() as selector:
            selector.register(self.channel, selectors.EVENT_READ)
            selector.register(self.output, selectors.EVENT_READ)
            while (left := deadline - time.monotonic()) > 0:
                for key, _ in selector.select(left):
                    if key.fileobj == self.output:
                        data = os.read(self.output, READ_BYTES)
                        printed.append(data)
                        if not data:
                            selector.unregister(self.output)
                        continue
                    data = self.channel.recv(READ_BYTES)
                    if not data:
                        return None, _text(printed) + self._drain(), True
                    self._unread += data
                    if self._unread.endswith(b"\n"):
                        line, self._unread = self._unread, b""
                        return json.loads(line), _text(printed) + self._drain(), False
        return None, _text(printed) + self._drain(), False

    def _drain(self) -> str:
        """What is printed and not read yet; the worker flushes before it answers."""
        printed: list[bytes] = []
        os.set_blocking(self.output, False)
        try:
            while data := os.read(self.output, READ_BYTES):
                printed.append(data)
        except OSError:  # nothing more at the moment
            pass
        finally:
            os.set_blocking(self.output, True)
        return _text(printed)


def _text(chunks: list[bytes]) -> str:
    return b"".join(chunks).decode(errors="replace")


@dataclass(eq=False)
class _Pool:
    """The environments of one function at one revision of its code and configuration."""

    revision: str
    room: threading.BoundedSemaphore = field(
        default_factory=lambda: threading.BoundedSemaphore(WORKERS_PER_FUNCTION)
    )
    idle: list[Worker] = field(default_factory=list)


class Workers:
    """All execution environments of this emulator, and the fork server that they come from."""

    def __init__(self, endpoint_url: str) -> None:
        self._endpoint_url = endpoint_url
        self._lock = threading.Lock()
        self._pools: dict[str, _Pool] = {}
        self._busy: dict[str, Worker] = {}
        self._code_dirs: dict[str, Path] = {}
        self._cold_starts = threading.BoundedSemaphore(COLD_STARTS_AT_ONCE)
        self._fork_lock = threading.Lock()
        self._done: deque[Invocation] = deque(maxlen=INVOCATIONS_KEPT)
        self._control, theirs = socket.socketpair()
        # From the main thread: the kernel's death signal follows the thread that started a child.
        self._fork_server = subprocess.Popen(
            [
                sys.executable,
                "-I",
                str(Path(__file__).parent.parent / "worker.py"),
                str(os.getpid()),
            ],
            stdin=theirs.fileno(),
        )
        theirs.close()

    def run(self, function: Config, event: Any, request_id: str) -> Result:
        """Run one invocation in a warm environment, or in a new one. Blocks until it ends."""
        config: Config = function.get("config") or function
        pool = self._pool(function, config)
        with pool.room:
            started_cold = False
            began, init = time.monotonic(), None
            try:
                worker = pool.idle.pop()
            except IndexError:
                started_cold = True
                worker_or_result = self._cold_start(function, config)
                if not isinstance(worker_or_result, Worker):
                    return worker_or_result
                worker = worker_or_result
                init = time.monotonic() - began
            at, begun = time.time(), time.monotonic()
            with self._busy_with(worker, event, request_id):
                result, alive = self._invoke(worker, config, event, request_id)
            self._done.append(
                Invocation(
                    time=at,
                    function=config["FunctionName"],
                    seconds=time.monotonic() - begun,
                    init_seconds=init,
                    error=result["body"]["errorType"] if result.get("error") else "",
                )
            )
            if alive and self._pools.get(config["FunctionArn"]) is pool:
                worker.idle_since = time.monotonic()
                pool.idle.append(worker)
                self._end_the_longest_idle()
            else:
                worker.discard()
            if started_cold:
                result.setdefault("cold", True)
            return result

    def worker_of(self, access_key_id: str) -> Worker | None:
        """The worker that is signing with this key, if it is in an invocation."""
        return self._busy.get(access_key_id)

    def invocations(self, since: float) -> list[Invocation]:
        """The invocations that began since a Unix time and are over."""
        return [done for done in self._done.copy() if done.time >= since]

    def end_idle(self) -> None:
        """End the environments that wait for work."""
        for pool in list(self._pools.values()):
            while pool.idle:
                with contextlib.suppress(IndexError):  # taken for an invocation meanwhile
                    pool.idle.pop().discard()

    def pids(self) -> list[int]:
        """The processes of all environments, idle or busy."""
        idle = [worker for pool in list(self._pools.values()) for worker in list(pool.idle)]
        return [worker.pid for worker in [*idle, *list(self._busy.values())]]

    def stop(self) -> None:
        """End every environment and the fork server."""
        self._control.close()
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            self._fork_server.kill()
        self._fork_server.wait()

    def _pool(self, function: Config, config: Config) -> _Pool:
        """The pool of this revision; the environments of an earlier revision end."""
        revision = json.dumps(
            [config.get(name) for name in ("CodeSha256", "Handler", "Role", "Timeout")]
            + [config.get("Environment"), config.get("MemorySize")],
            sort_keys=True,
        )
        with self._lock:
            pool = self._pools.get(config["FunctionArn"])
            if pool is not None and pool.revision == revision:
                return pool
            self._pools[config["FunctionArn"]] = new = _Pool(revision)
        for worker in pool.idle if pool is not None else ():
            worker.discard()
        return new

    def _end_the_longest_idle(self) -> None:
        """Keep memory bounded after a wave of invocations."""
        with self._lock:
            idle = [(pool, worker) for pool in self._pools.values() for worker in [*pool.idle]]
            if len(idle) <= MOST_IDLE:
                return
            pool, worker = min(idle, key=lambda entry: entry[1].idle_since)
            try:
                pool.idle.remove(worker)
            except ValueError:  # taken for an invocation meanwhile
                return
        worker.discard()

    def _cold_start(self, function: Config, config: Config) -> Worker | Result:
        with self._cold_starts:
            worker = self._fork(function, config)
            answer, printed, _ = worker.exchange(None, INIT_TIMEOUT_SECONDS)
        if answer is not None and "ready" in answer:
            return worker
        worker.discard()
        error = (answer or {}).get("error") or _error("Runtime.ExitError", "Init did not finish")
        return {"body": error, "error": True, "log": printed + _report(error)}

    def _fork(self, function: Config, config: Config) -> Worker:
        code_dir = self._unpack(function["code_zip"])
        credentials = _role_session(config)
        spec = {
            "code_dir": str(code_dir),
            "handler": config["Handler"],
            "memory": config.get("MemorySize", 128),
            "now": _moved_now(),
            "env": self._environment(config, code_dir, credentials),
        }
        blob = json.dumps(spec).encode()
        ours, theirs = socket.socketpair()
        output, their_output = os.pipe()
        try:
            with self._fork_lock:
                socket.send_fds(
                    self._control, [b"%8d" % len(blob)], [theirs.fileno(), their_output]
                )
                self._control.sendall(blob)
                pid = int(self._control.recv(8))
        finally:
            theirs.close()
            os.close(their_output)
        return Worker(pid, ours, output, credentials["AWS_ACCESS_KEY_ID"], config["FunctionName"])

    def _unpack(self, code_zip: bytes) -> Path:
        """The unpacked code, shared by all functions and environments that run it."""
        digest = hashlib.sha256(code_zip).hexdigest()
        with self._lock:
            if digest not in self._code_dirs:
                code_dir = Path(tempfile.mkdtemp(prefix="code-"))
                with zipfile.ZipFile(io.BytesIO(code_zip)) as archive:
                    archive.extractall(code_dir)
                self._code_dirs[digest] = code_dir
            return self._code_dirs[digest]

    def _environment(
        self, config: Config, code_dir: Path, credentials: dict[str, str]
    ) -> dict[str, str]:
        name = config["FunctionName"]
        region = config["FunctionArn"].split(":")[3]
        own = (config.get("Environment") or {}).get("Variables") or {}
        kept = ("PATH", "LD_LIBRARY_PATH", "COVERAGE_PROCESS_START")
        return {
            **{key: os.environ[key] for key in kept if key in os.environ},
            "TZ": ":UTC",
            "LANG": "en_US.UTF-8",
            "HOME": tempfile.gettempdir(),
            "TMPDIR": tempfile.gettempdir(),
            # Not set on AWS; this is what brings the handlers' clients here.
            "AWS_ENDPOINT_URL": self._endpoint_url,
            "AWS_EC2_METADATA_DISABLED": "true",
            **{key: value for key, value in own.items() if key not in _RESERVED_RUNTIME_ENV_VARS},
            **credentials,
            "AWS_REGION": region,
            "AWS_DEFAULT_REGION": region,
            "AWS_EXECUTION_ENV": f"AWS_Lambda_{config.get('Runtime', 'python3.13')}",
            "AWS_LAMBDA_FUNCTION_NAME": name,
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(config.get("MemorySize", 128)),
            "AWS_LAMBDA_FUNCTION_VERSION": str(config.get("Version", "$LATEST")),
            "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{name}",
            "AWS_LAMBDA_LOG_STREAM_NAME": secrets.token_hex(16),
            "LAMBDA_TASK_ROOT": str(code_dir),
            "_HANDLER": config["Handler"],
        }

    @contextlib.contextmanager
    def _busy_with(self, worker: Worker, event: Any, request_id: str) -> Iterator[None]:
        worker.event, worker.request_id, worker.killed_as = event, request_id, None
        self._busy[worker.access_key_id] = worker
        try:
            yield
        finally:
            self._busy.pop(worker.access_key_id, None)
            worker.event = None

    def _invoke(
        self, worker: Worker, config: Config, event: Any, request_id: str
    ) -> tuple[Result, bool]:
        timeout = float(config.get("Timeout", 3))
        message = {
            "event": event,
            "request_id": request_id,
            "arn": config["FunctionArn"],
            "timeout": timeout,
            "now": _moved_now(),
        }
        answer, printed, died = worker.exchange(message, timeout)
        if answer is not None and "error" not in answer:
            return {"body": answer["result"], "log": printed}, True
        if answer is not None:
            error = answer["error"]
        elif worker.killed_as is not None:
            error = _error(worker.killed_as, f"RequestId: {request_id} Error: worker killed")
        elif died:
            error = _error(
                "Runtime.ExitError", f"RequestId: {request_id} Error: Runtime exited with an error"
            )
        else:
            error = _error(
                "Sandbox.Timedout",
                f"RequestId: {request_id} Error: Task timed out after {timeout:.2f} seconds",
            )
        return {"body": error, "error": True, "log": printed + _report(error)}, answer is not None


def _moved_now() -> float | None:
    """The moved clock's time, for a worker to go by; None when time is real."""
    return time.time() if clock.moves else None


def _error(kind: str, message: str) -> dict[str, Any]:
    return {"errorType": kind, "errorMessage": message}


def _report(error: dict[str, Any]) -> str:
    """How the Python runtime logs an unhandled error."""
    where = "".join(error.get("stackTrace", ()))
    return f"\n[ERROR] {error['errorType']}: {error['errorMessage']}\n{where}"


def _role_session(config: Config) -> dict[str, str]:
    """A session of the function's role, as the Lambda service would assume it."""
    account = config["FunctionArn"].split(":")[4]
    role = config.get("Role", "").rsplit("/", 1)[-1]
    name = config["FunctionName"][:64]
    access_key_id = f"ASIA{secrets.token_hex(8).upper()}"
    secret, token = secrets.token_hex(20), secrets.token_hex(32)
    sts.register_session(
        access_key_id,
        {
            "Arn": f"arn:aws:sts::{account}:assumed-role/{role}/{name}",
            "UserId": f"AROA{hashlib.sha256(role.encode()).hexdigest()[:17].upper()}:{name}",
            "SecretAccessKey": secret,
            "SessionToken": token,
        },
    )
    return {
        "AWS_ACCESS_KEY_ID": access_key_id,
        "AWS_SECRET_ACCESS_KEY": secret,
        "AWS_SESSION_TOKEN": token,
    }


def install(endpoint_url: str) -> Workers:
    """Let MiniStack run Python functions in these workers."""
    workers = Workers(endpoint_url)
    lambda_svc._execute_function_warm = workers.run
    return workers
