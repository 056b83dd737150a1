"""The Lambda execution environments of the embedded AWS: one fork server and its children.

Run as a script, isolated (`python -I worker.py`), never imported by the emulator. The emulator
asks for an environment by sending one message and three file descriptors over the control socket
(descriptor 0); the fork server forks, answers with the child's pid, and the child becomes a
Lambda worker: it imports the handler and serves one JSON line per invocation.

Forking from a process that has already imported the SDK makes a cold start cheap (milliseconds
of CPU instead of half a second), which is what lets a hundred executions run on two cores.

Nothing outlives the emulator: the end of the control socket ends the fork server, the end of a
worker's channel ends the worker, and on Linux the kernel kills a child whose parent died.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import json
import os
import signal
import socket
import sys
import time
import traceback
from typing import Any

# What the handlers are known to import from the environment, loaded once before any fork.
PRELOAD = (
    "boto3.session",
    "botocore.client",
    "botocore.httpsession",
    "botocore.retries.standard",
    "requests",
    "pydantic",
    "aws_lambda_powertools",
    "aws_lambda_powertools.metrics",
    "aws_lambda_powertools.tracing.tracer",
    "aws_xray_sdk.core",
)
# Services whose descriptions (megabytes of JSON) are read once before any fork.
PRELOAD_CLIENTS = ("iam", "secretsmanager", "stepfunctions", "sts", "cloudwatch", "sns", "s3")
PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int) -> None:
    """Ask the kernel (Linux) to kill this process when its parent dies."""
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def serve_forks(control: socket.socket) -> None:
    """Fork one worker for each message; ends when the emulator closes its end."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps; death is seen as an EOF
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the emulator's to handle
    if os.environ.get("LOCALAWS_PRELOAD") != "no":
        preload()
    gc.collect()
    gc.freeze()  # leaves the shared pages alone in the children
    me = os.getpid()
    while True:
        size_and_fds = socket.recv_fds(control, 8, 2)
        if not size_and_fds[0]:
            os._exit(0)
        size, fds = int(size_and_fds[0]), size_and_fds[1]
        blob = b""
        while len(blob) < size:
            blob += control.recv(size - len(blob))
        pid = os.fork()
        if pid == 0:
            try:
                control.close()
                become_worker(me, json.loads(blob), channel=fds[0], output=fds[1])
            finally:
                os._exit(1)
        for fd in fds:
            os.close(fd)
        control.sendall(b"%8d" % pid)


def preload() -> None:
    """Do what every cold start would do again: imports, and reading the SDK's descriptions."""
    os.environ["LAMBDA_TASK_ROOT"] = "/var/task"  # the X-Ray SDK looks for it when imported
    moved = ("time_machine",) if os.environ.get("LOCALAWS_CLOCK") == "moved" else ()
    for module in (*PRELOAD, *moved):
        with contextlib.suppress(ImportError):
            importlib.import_module(module)
    with contextlib.suppress(ImportError):
        import botocore.loaders  # noqa: PLC0415 - a user's functions may do without botocore
        import botocore.session  # noqa: PLC0415 - likewise

        # Each session has a loader of its own; a file is the same for all of them.
        read = botocore.loaders.JSONFileLoader.load_file
        cached: dict[str, Any] = {}

        def load_file(loader: Any, path: str) -> Any:
            if path not in cached:
                cached[path] = read(loader, path)
            return cached[path]

        botocore.loaders.JSONFileLoader.load_file = load_file  # type: ignore[method-assign, assignment]
        session = botocore.session.Session()
        for service in PRELOAD_CLIENTS:
            session.create_client(
                service,
                region_name="us-east-1",
                aws_access_key_id="none",
                aws_secret_access_key="none",  # noqa: S106 - never used for a call
            )


def become_worker(parent: int, spec: dict[str, Any], channel: int, output: int) -> None:
    """Turn the forked child into the function's execution environment and serve invocations."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    die_with_parent(parent)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    sys.stdout = os.fdopen(1, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, encoding="utf-8", errors="replace", closefd=False)
    os.environ.clear()
    os.environ.update(spec["env"])
    time.tzset()
    go_by(spec["now"])
    os.chdir(spec["code_dir"])
    sys.path.insert(0, spec["code_dir"])
    requests = os.fdopen(os.dup(channel), "r", encoding="utf-8")
    answers = os.fdopen(channel, "w", encoding="utf-8")

    def answer(message: dict[str, Any]) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    module, _, function = spec["handler"].replace("/", ".").rpartition(".")
    try:
        handler = getattr(importlib.import_module(module), function)
    except AttributeError:
        answer(failure("Runtime.HandlerNotFound", f"Handler '{function}' missing on '{module}'"))
        return
    except BaseException as error:  # noqa: BLE001 - whatever it is ends the init phase, as on AWS
        kind = (
            "Runtime.ImportModuleError" if isinstance(error, ImportError) else type(error).__name__
        )
        answer(failure(kind, f"Unable to import module '{module}': {error}", error))
        return
    answer({"ready": True})
    for line in requests:
        answer(invoke(handler, json.loads(line), spec))
    os._exit(0)


_travels: list[Any] = []


def go_by(now: float | None) -> None:
    """Tell the handler this time (Unix time) from now on; None: the real one."""
    if now is None:
        return
    import time_machine  # noqa: PLC0415 - only a moved clock needs it

    if not _travels:
        _travels.append(time_machine.travel(now, tick=True).start())
    _travels[0].move_to(now)


def invoke(handler: Any, message: dict[str, Any], spec: dict[str, Any]) -> dict[str, Any]:
    """Run one invocation; an exception of the handler is an answer, never the end of the worker."""
    go_by(message["now"])
    try:
        result = handler(message["event"], Context(message, spec))
    except Exception as error:  # noqa: BLE001 - the runtime reports whatever is raised
        return failure(type(error).__name__, str(error), error)
    try:
        return {"result": json.loads(json.dumps(result))}
    except (TypeError, ValueError) as error:
        return failure("Runtime.MarshalError", f"Unable to marshal response: {error}")


def failure(kind: str, message: str, error: BaseException | None = None) -> dict[str, Any]:
    """The error document of the Python runtime: class name, message, and where it happened."""
    frames = traceback.format_tb(error.__traceback__)[1:] if error is not None else []
    return {"error": {"errorMessage": message, "errorType": kind, "stackTrace": frames}}


class Context:
    """The context object of the Python runtime."""

    def __init__(self, message: dict[str, Any], spec: dict[str, Any]) -> None:
        self.function_name: str = spec["env"]["AWS_LAMBDA_FUNCTION_NAME"]
        self.function_version: str = spec["env"]["AWS_LAMBDA_FUNCTION_VERSION"]
        self.memory_limit_in_mb: int = spec["memory"]
        self.invoked_function_arn: str = message["arn"]
        self.aws_request_id: str = message["request_id"]
        self.log_group_name: str = spec["env"]["AWS_LAMBDA_LOG_GROUP_NAME"]
        self.log_stream_name: str = spec["env"]["AWS_LAMBDA_LOG_STREAM_NAME"]
        self.identity = None
        self.client_context = None
        self._deadline: float = time.time() + message["timeout"]

    def get_remaining_time_in_millis(self) -> int:
        return max(0, int((self._deadline - time.time()) * 1000))


if __name__ == "__main__":
    die_with_parent(int(sys.argv[1]))
    serve_forks(socket.socket(fileno=0))
