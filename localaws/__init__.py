"""The embedded AWS: a local emulator in one process, for `make demo` and the tests.

    import localaws

    with localaws.start() as aws:
        outputs = localaws.deploy(
            aws, stack_name="orders", template=Path("template.yaml"), parameters={}
        )
        machines = aws.client("stepfunctions")
        machines.start_execution(stateMachineArn=outputs["OrderMachineArn"], input="{}")

It checks signatures and evaluates IAM policies, runs the real handlers in Lambda workers (plain
subprocesses of this interpreter), interprets the real state machine definitions, and delivers
events. `LocalAws.control` records calls, models how badly AWS publishes last-used data, and
injects faults. `LocalAws.account("222233334444")` is another account of the same emulator.
Started with `clock="moved"`, a wait of a week takes no longer than what happens in it.
"""

from localaws.control import Control
from localaws.deploy import deploy
from localaws.errors import LocalAwsError
from localaws.launcher import Account, LocalAws, start
from localaws.model import ApiCall, FaultRule, FiredFault, LastUsedModel

__all__ = [
    "Account",
    "ApiCall",
    "Control",
    "FaultRule",
    "FiredFault",
    "LastUsedModel",
    "LocalAws",
    "LocalAwsError",
    "deploy",
    "start",
]
