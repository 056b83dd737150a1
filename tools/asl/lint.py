"""The linter for state machine definitions.

First cfn-lint's own JSON schema of the Amazon States Language, then what no schema can say: that
every state can be reached, that variables are assigned before they are read, that no secret passes.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterator, Set
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
from jsonata import Jsonata

from tools.asl.definition import Definition, Expression, Scope, State, arrows, expressions, leaves

NEEDS_COMMENT = {"Choice", "Task", "Wait"}

RETRIER_FIELDS = {
    "Comment",
    "ErrorEquals",
    "IntervalSeconds",
    "MaxAttempts",
    "BackoffRate",
    "MaxDelaySeconds",
    "JitterStrategy",
}

SERVICE_ERRORS = {
    "States.ALL",
    "States.BranchFailed",
    "States.DataLimitExceeded",
    "States.ExceedToleratedFailureThreshold",
    "States.HeartbeatTimeout",
    "States.Http.Socket",
    "States.ItemReaderFailed",
    "States.Permissions",
    "States.QueryEvaluationError",
    "States.ResultWriterFailed",
    "States.Runtime",
    "States.TaskFailed",
    "States.Timeout",
    "Lambda.AWSLambdaException",
    "Lambda.ClientExecutionTimeoutException",
    "Lambda.SdkClientException",
    "Lambda.ServiceException",
    "Lambda.TooManyRequestsException",
    "Lambda.Unknown",
}

# Their answers hold a secret, and every answer is kept in the history for 90 days.
SECRET_INTEGRATIONS = re.compile(
    r":aws-sdk:(iam:createAccessKey|sts:(assumeRole\w*|get(Session|Federation)Token)"
    r"|secretsmanager:(getSecretValue|batchGetSecretValue|getRandomPassword"
    r"|putSecretValue|createSecret|updateSecret))$",
    re.IGNORECASE,
)
SECRET_NAMES = re.compile(
    r"secret_?access_?key|secret_?(string|binary|value)|session_?token", re.IGNORECASE
)

# JSONata functions that Step Functions adds, and the one that it leaves out.
ADDED_FUNCTIONS = {"partition", "range", "hash", "random", "uuid", "parse"}
MISSING_FUNCTIONS = {"eval"}

LITERALS = re.compile(r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"|`[^`]*`|/\*.*?\*/", re.DOTALL)


@dataclass(frozen=True)
class Finding:
    """Something wrong with a definition."""

    path: Path
    line: int
    state: str  # empty: the machine itself
    message: str

    def __str__(self) -> str:
        where = f"{self.state}: " if self.state else ""
        return f"{self.path}:{self.line}: {where}{self.message}"


Problem = tuple[str, str]  # a state's name (or "") and what is wrong with it


def lint(
    definition: Definition, *, errors: Set[str], substitutions: Set[str] | None
) -> list[Finding]:
    """Everything wrong with a definition.

    `errors` are the names of the exceptions that the functions raise, `substitutions` the names in
    the template's DefinitionSubstitutions, or None when no state machine uses the file.
    """
    problems = list(_schema_problems(definition.content))
    if not problems:  # the other checks rely on the right shape
        problems += _token_problems(definition, substitutions)
        problems += _variable_problems(definition)
        for scope in definition.scopes():
            problems += _arrow_problems(scope)
            for name, state in scope.states.items():
                for check in _STATE_CHECKS:
                    problems += [(name, message) for message in check(state)]
                problems += [(name, message) for message in _error_name_problems(state, errors)]
    return [
        Finding(definition.path, definition.line_of(state) if state else 1, state, message)
        for state, message in problems
    ]


def error_names(source: Path) -> set[str]:
    """Names of the exception classes that a module defines."""
    tree = ast.parse(source.read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.ClassDef)}


def named_errors(definition: Definition) -> set[str]:
    """All error names that a definition's retriers and catchers match on."""
    return {
        error
        for scope in definition.scopes()
        for state in scope.states.values()
        for error in _matched_errors(state)
    }


def _matched_errors(state: State) -> Iterator[str]:
    for matcher in [*state.get("Retry", []), *state.get("Catch", [])]:
        yield from matcher["ErrorEquals"]


# The schema


@cache
def _schema_validator() -> Any:
    """cfn-lint's schema, with its own keyword, and numbers allowed to come from JSONata."""

    def required_xor(_: Any, names: list[str], instance: Any, __: Any) -> Iterator[Any]:
        present = [name for name in names if name in instance]
        if isinstance(instance, dict) and len(present) != 1:
            yield jsonschema.ValidationError(f"exactly one of {', '.join(names)} is required")

    def type_or_jsonata(validator: Any, types: Any, instance: Any, schema: Any) -> Iterator[Any]:
        if not (isinstance(instance, str) and Expression("", instance).is_jsonata):
            base = jsonschema.Draft202012Validator.VALIDATORS["type"]
            yield from base(validator, types, instance, schema)

    folder = files("cfnlint.data.schemas.other.step_functions")
    schema = json.loads(folder.joinpath("statemachine.json").read_text(encoding="utf-8"))
    keywords = {"requiredXor": required_xor, "type": type_or_jsonata}
    # jsonschema's extend() has no types.
    extend: Callable[..., Any] = jsonschema.validators.extend
    return extend(jsonschema.Draft202012Validator, keywords)(schema)


def _schema_problems(content: dict[str, Any]) -> Iterator[Problem]:
    if content.get("QueryLanguage") != "JSONata":
        yield "", 'QueryLanguage must be "JSONata" at the top'
    for error in _schema_validator().iter_errors(_as_cfn_lint_reads_it(content)):
        path = [str(part) for part in error.absolute_path]
        state = path[1] if len(path) > 1 and path[0] == "States" else ""
        where = "/".join(path[2:] if state else path)
        message = error.message
        if error.validator is None:  # the schema `false`, whose error has no path
            message = (
                f"{error.instance!r} is in a field of JSONPath, such as Parameters or ResultPath"
            )
        yield state, f"{where}: {message}" if where else message


def _as_cfn_lint_reads_it(content: dict[str, Any]) -> dict[str, Any]:
    """A copy in which each state names its query language and resources have no placeholders.

    The schema looks for the query language in each state, and for the literal partition `aws`.
    """

    def prepare(states: dict[str, Any]) -> None:
        for state in states.values():
            if not isinstance(state, dict):
                continue
            if state.get("Type") != "Succeed":
                state.setdefault("QueryLanguage", "JSONata")
            if "Resource" in state:
                resource = re.sub(r"^arn:\$\{\w+\}:", "arn:aws:", str(state["Resource"]))
                whole = "arn:aws:lambda:us-east-1:123456789012:function:name"
                state["Resource"] = re.sub(r"^\$\{\w+\}$", whole, resource)
            for inner in [state.get("ItemProcessor", {}), *state.get("Branches", [])]:
                prepare(inner.get("States", {}))

    copy = deepcopy(content)
    prepare(copy.get("States", {}))
    return copy


# The graph


def _arrow_problems(scope: Scope) -> Iterator[Problem]:
    if scope.start_at not in scope.states:
        yield scope.outer or "", f"StartAt names {scope.start_at!r}, which does not exist"
    for name, state in scope.states.items():
        for arrow in arrows(state):
            if arrow.target not in scope.states:
                yield name, f"{arrow.kind} target {arrow.target!r} does not exist"
    reachable = set(scope.reachable())
    for name in scope.states:
        if name not in reachable:
            yield name, "cannot be reached"


def _token_problems(definition: Definition, substitutions: Set[str] | None) -> Iterator[Problem]:
    if substitutions is None:
        yield "", "no state machine in template.yaml has this file as its DefinitionUri"
        return
    for token in sorted(definition.tokens() - substitutions):
        yield "", f"${{{token}}} is not in the DefinitionSubstitutions of template.yaml"
    for token in sorted(substitutions - definition.tokens()):
        yield "", f"DefinitionSubstitutions of template.yaml has {token}, which is not used here"


# Single states


def _comment_problems(state: State) -> Iterator[str]:
    if state["Type"] in NEEDS_COMMENT and not state.get("Comment", "").strip():
        yield f"a {state['Type']} needs a Comment that says why it is there"


def _task_problems(state: State) -> Iterator[str]:
    if state["Type"] != "Task":
        return
    if "TimeoutSeconds" not in state:
        yield "a Task needs TimeoutSeconds: without it a lost answer holds the execution for years"
    if not state.get("Retry"):
        yield "a Task needs Retry: every call fails now and then"
    if SECRET_INTEGRATIONS.search(state["Resource"]):
        yield f"{state['Resource']} would write a secret into the execution's history"


def _retry_problems(state: State) -> Iterator[str]:
    for field in ("Retry", "Catch"):
        matchers = state.get(field, [])
        for matcher in matchers[:-1]:
            if "States.ALL" in matcher["ErrorEquals"]:
                yield f"{field}: States.ALL must be last; what follows it never matches"
        last = matchers[-1]["ErrorEquals"] if matchers else ["States.ALL"]
        if "States.ALL" in last and last != ["States.ALL"]:
            yield f"{field}: States.ALL must stand alone"
        if field == "Retry" and "States.ALL" not in last:
            yield "Retry: the last retrier must be States.ALL (MaxAttempts 0 if nothing else helps)"
    for retrier in state.get("Retry", []):
        for unknown in sorted(retrier.keys() - RETRIER_FIELDS):
            yield f"Retry: unknown field {unknown}"


def _error_name_problems(state: State, errors: Set[str]) -> Iterator[str]:
    for error in _matched_errors(state):
        if "." not in error:
            if error not in errors:
                yield f"ErrorEquals names {error}, which no exception class is called"
        elif error.startswith(("States.", "Lambda.")) and error not in SERVICE_ERRORS:
            yield f"ErrorEquals names {error}, which Step Functions does not report"


def _secret_problems(state: State) -> Iterator[str]:
    for where, value in leaves(state):
        if found := SECRET_NAMES.search(f"{where} {value}"):
            yield f"{where}: {found[0]} must not pass through the state machine"


def _expression_problems(state: State) -> Iterator[str]:
    for expression in expressions(state):
        where = expression.where
        if not expression.is_jsonata:
            if "{%" in expression.text or "%}" in expression.text:
                yield f"{where}: an expression must fill the string, from {{% to %}}"
            continue
        try:
            Jsonata(expression.code)
        except Exception as error:  # noqa: BLE001 - the parser raises whatever it trips over
            yield f"{where}: not JSONata: {error}"
            continue
        if "$states.result" in expression.code and (
            not where.startswith(("Assign", "Output"))
            or state["Type"] not in ("Task", "Map", "Parallel")
        ):
            yield f"{where}: $states.result exists only in the Assign and Output of a call"
        if "$states.errorOutput" in expression.code and not where.startswith("Catch/"):
            yield f"{where}: $states.errorOutput exists only in a Catch"
        known = set(Jsonata.static_frame.bindings) | ADDED_FUNCTIONS | _local_names(expression)
        for name in sorted(_names(expression, called=True) - (known - MISSING_FUNCTIONS)):
            yield f"{where}: Step Functions has no JSONata function ${name}"


_STATE_CHECKS: list[Callable[[State], Iterator[str]]] = [
    _comment_problems,
    _task_problems,
    _retry_problems,
    _secret_problems,
    _expression_problems,
]


# Variables


def _names(expression: Expression, *, called: bool = False) -> set[str]:
    """Names after a dollar sign outside of literals: those that are called, or the others."""
    code = LITERALS.sub("''", expression.code)
    pattern = r"\$([A-Za-z_]\w*)\b(?=\s*\()" if called else r"\$([A-Za-z_]\w*)\b(?!\s*\()"
    return set(re.findall(pattern, code))


def _local_names(expression: Expression) -> set[str]:
    """Names that an expression binds itself: `$x := ...` and parameters of its functions."""
    code = LITERALS.sub("''", expression.code)
    parameters = " ".join(re.findall(r"(?:function|λ)\s*\(([^)]*)\)", code))
    return set(re.findall(r"\$(\w+)\s*:=", code)) | set(re.findall(r"\$(\w+)", parameters))


def _variables(expression: Expression, assigned: Set[str]) -> set[str]:
    """Names of the machine's variables that an expression reads.

    A function's name without a call, as in `$map($x, $string)`, is one only if it is assigned.
    """
    functions = (set(Jsonata.static_frame.bindings) | ADDED_FUNCTIONS) - assigned
    return _names(expression) - _local_names(expression) - functions - {"states"}


def _guarded(expression: Expression) -> set[str]:
    """Names whose absence an expression asks about before it reads them."""
    return set(re.findall(r"\$exists\(\s*\$(\w+)", expression.code))


def _variable_problems(definition: Definition) -> Iterator[Problem]:
    assigned: dict[str, str] = {}
    found: list[Expression] = []
    for scope in definition.scopes():
        for name, state in scope.states.items():
            for names in [state.get("Assign", {}), *(arrow.assigns for arrow in arrows(state))]:
                assigned.update(dict.fromkeys(names, name))
            found += [expression for expression in expressions(state) if expression.is_jsonata]
    read = {name for expression in found for name in _variables(expression, assigned.keys())}
    for variable in sorted(assigned.keys() - read):
        yield assigned[variable], f"${variable} is assigned and never read"
    yield from _unassigned(definition.root, frozenset(), assigned.keys())
    yield from _shadowing(definition.root, {})


def _shadowing(scope: Scope, outer: dict[str, str]) -> Iterator[Problem]:
    """Variables that an outer scope assigns as well, which Step Functions forbids.

    Of a Distributed Map, too: the guide, "Passing data between states with variables", exempts
    it from reading outer variables alone.
    """
    own = {
        variable: name
        for name, state in scope.states.items()
        for names in [state.get("Assign", {}), *(arrow.assigns for arrow in arrows(state))]
        for variable in names
    }
    for variable in sorted(own.keys() & outer.keys()):
        yield own[variable], f"${variable} is assigned in an outer scope, too: {outer[variable]}"
    for name in scope.states:
        for inner in scope.inner(name):
            yield from _shadowing(inner, outer | own)


def _unassigned(scope: Scope, inherited: frozenset[str], assigned: Set[str]) -> Iterator[Problem]:
    """Variables that a state reads though some way to it does not assign them."""
    # Assigned on every way to a state: begin at the start, and intersect until nothing changes.
    on_entry: dict[str, frozenset[str]] = {scope.start_at: inherited}
    todo = [scope.start_at]
    while todo:
        name = todo.pop()
        for arrow in arrows(scope.states.get(name, {})):
            after = on_entry[name] | arrow.assigns
            before = on_entry.get(arrow.target)
            now = after if before is None else before & after
            if now != before:
                on_entry[arrow.target] = now
                todo.append(arrow.target)
    for name, state in scope.states.items():
        if name not in on_entry:
            continue  # cannot be reached, which is reported elsewhere
        for expression in expressions(state):
            if expression.is_jsonata:
                missing = _variables(expression, assigned) - on_entry[name] - _guarded(expression)
                for variable in sorted(missing):
                    yield name, f"{expression.where}: ${variable} is not assigned on every way here"
        for inner in scope.inner(name):
            seen = on_entry[name] if inner.sees_outer_variables else frozenset()
            yield from _unassigned(inner, seen, assigned)
