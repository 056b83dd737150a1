"""What one state of the model holds: a small world, the executions at work on it, and budgets.

Everything is a tuple of small values, so that states are cheap to copy, compare and hash. Keys are
numbered in the order of their creation; a version of ours is named by the number of its key.
"""

from __future__ import annotations

from typing import NamedTuple

NONE = -1

# Who created a key, when it was not an execution (those are numbered from 0).
ORIGIN, PERSON = -1, -2

# When a key was created. `during(e)` is while execution e's claim was in force, `after(e)` is
# later, while the claim still named e although e's last call could no longer take effect.
LONG_AGO = -1

# What IAM and the evidence say about a key's use.
NEVER = 0  # handed to nobody
MAYBE = 1  # it was in AWSCURRENT; nothing published yet
BUSY = 2  # published uses; somebody needs it as far as anybody knows
QUIET = 3  # used once, and quiet by the evidence
UNUSED = 4  # was in AWSCURRENT, and never used by a consumer, by the evidence
IN_USE = (MAYBE, BUSY)

# Versions that hold no key of ours: a person's, and the intents.
FOREIGN, INTENTS = 50, 100

WAITING, RUNNING, ENDED, FREE = "waiting", "running", "ended", "free"

ROTATE, BACK_OUT, AUTO, EMERGENCY, RETIRE = "ROTATE", "BACK_OUT", "AUTO", "EMERGENCY", "RETIRE"


def during(execution: int) -> int:
    """Return the time of creation of a key made while this execution's claim was in force."""
    return 2 * execution


def after(execution: int) -> int:
    """Return the time of creation of a key made after this claimant's fenced end."""
    return 2 * execution + 1


class Key(NamedTuple):
    """One access key: its number, status, creator, time of creation, use, and if it was stored.

    `later` are the executions, as bits, whose intents are older than the key.
    """

    id: int
    active: bool
    by: int
    born: int
    use: int
    stored: bool
    later: int = 0


class Intent(NamedTuple):
    """An intent version. `chain` are the dead executions whose claims it inherited, in order."""

    before: tuple[int, ...]
    old: int
    new: int
    action: str
    emergency: bool
    took_over: bool
    chain: tuple[int, ...]


class World(NamedTuple):
    """IAM and the secret. Labels name versions, `claim` and `intent` name executions.

    `exposed` is a set of keys as bits; `record` is the tag that names the key we deactivated;
    `last` is the execution whose outcome the tag keyturn:last-result records; `foreign` is the
    key in the person's version. The rest is what only the invariants look at: `open` is the
    execution that published and has not decided, `said` the last decided result, `touched` the
    keys that a person changed (as bits) and `made` how many keys were ever created.
    """

    keys: tuple[Key, ...]
    current: int = NONE
    pending: int = NONE
    backout: int = NONE
    claim: int = NONE
    intent: int = NONE
    exposed: int = 0
    record: int = NONE
    last: int = NONE
    foreign: int = NONE
    open: int = NONE
    said: str = ""
    touched: int = 0
    made: int = 1

    def find(self, key_id: int) -> Key | None:
        """Return the key with this number, or None when IAM has no such key."""
        for key in self.keys:
            if key.id == key_id:
                return key
        return None

    def key_in(self, version: int) -> int:
        """Return the key that a version holds, or NONE."""
        if version < FOREIGN:
            return version
        return self.foreign if version == FOREIGN else NONE

    def is_active(self, key_id: int) -> bool:
        """Whether IAM has this key and it is Active."""
        return any(key.id == key_id and key.active for key in self.keys)

    def is_exposed(self, key_id: int) -> bool:
        """Whether a key is marked as exposed."""
        return key_id >= 0 and bool(self.exposed >> key_id & 1)

    def with_key(self, changed: Key) -> World:
        """Return the world with one key replaced."""
        return self._replace(
            keys=tuple(changed if key.id == changed.id else key for key in self.keys)
        )

    def used(self, key_id: int, use: int) -> World:
        """Return the world in which the evidence says this about a key's use."""
        key = self.find(key_id)
        return self if key is None or key.use == use else self.with_key(key._replace(use=use))


class Thread(NamedTuple):
    """A run through the state machine: where it is and what it carries from state to state.

    `at` is "<state>: <call>"; `old`, `new` are keys, `old_version`, `new_version` versions; `out`
    is the outcome as judged so far. `seen` is what the running invocation has looked up; it is
    empty between invocations, and lost when an invocation is tried again.
    """

    at: str
    old: int = NONE
    old_version: int = NONE
    new: int = NONE
    new_version: int = NONE
    exposed: bool = False  # the old key is: no waiting for consumers, no way back to it
    silent: bool = False
    deactivated: bool = False
    reactivated: bool = False
    again: bool = False  # rotate after the restoring (an EMERGENCY for the new key)
    tidies: bool = False  # there is nothing to do but to take a dead RetireKey's claim off
    out: str = ""
    seen: tuple[int, ...] = ()
    doomed: tuple[int, ...] = ()
    planned: Intent | None = None

    @property
    def state(self) -> str:
        """The state of the state machine that this thread is in."""
        return self.at.partition(":")[0]


class Execution(NamedTuple):
    """One execution. `ghost` is an invocation that still runs although nobody waits for it.

    `argument` is the exposed key of an EMERGENCY; `dead` are the executions that an automatic
    back-out is for; `changed` tells that it changed keys; `saved` is where a redrive would begin
    again; `older` are the
    executions whose steps from before the present wait, or the end, of this one are not over.
    """

    kind: str
    main: Thread | None
    argument: int = NONE
    dead: tuple[int, ...] = ()
    generation: int = 0
    status: str = WAITING
    result: str = ""
    intent: Intent | None = None
    ghost: Thread | None = None
    changed: bool = False
    saved: Thread | None = None
    older: int = 0


class State(NamedTuple):
    """One state of the model, with what may still go wrong in it."""

    world: World
    executions: tuple[Execution, ...]
    deaths: int = 0
    faults: int = 0
    person: int = 0
    slots: int = 0  # how many executions may still be started by the rule or by a rotation

    def replaced(self, number: int, execution: Execution) -> State:
        """Return the state with one execution replaced."""
        changed = self.executions
        return self._replace(
            executions=(*changed[:number], execution, *changed[number + 1 :]),
        )
