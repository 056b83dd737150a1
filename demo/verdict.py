"""Compares how the demo ended with what was promised. Every number here is counted."""

from __future__ import annotations

from dataclasses import dataclass

from demo.model import UserSeen, masked


@dataclass(frozen=True)
class Verdict:
    """The numbers of the last line, and every way in which the end differs from the promise."""

    rotated: int
    backed_out: int
    well_behaved_errors: int
    differences: tuple[str, ...]

    @property
    def line(self) -> str:
        """The last line of the demo, for people and for scripts."""
        return (
            f"demo: rotated={self.rotated} backed_out={self.backed_out} "
            f"well_behaved_errors={self.well_behaved_errors}"
        )


def judge(users: list[UserSeen], current: dict[str, str]) -> Verdict:
    """Judge the end. `current` is, by user, the key that its secret's AWSCURRENT really holds."""
    outcomes = [user.ended.outcome if user.ended else "" for user in users]
    polite = [
        consumer for user in users for consumer in user.consumers if consumer.role.well_behaved
    ]
    differences = [
        text
        for user in users
        for text in [
            *_differences_of_execution(user),
            *_differences_of_keys(user, current[user.role.name]),
            *_differences_of_consumers(user, current[user.role.name]),
        ]
    ]
    return Verdict(
        rotated=outcomes.count("ROTATED"),
        backed_out=outcomes.count("BACKED_OUT"),
        well_behaved_errors=sum(consumer.errors for consumer in polite),
        differences=tuple(differences),
    )


def _differences_of_execution(user: UserSeen) -> list[str]:
    name, ended = user.role.name, user.ended
    if ended is None:
        return [f"{name}: the rotation had not ended; it was in [{user.state}]: {user.waits_for}"]
    if (ended.outcome, ended.status) == (user.role.outcome, user.role.status):
        return []
    return [
        f"{name}: ended {ended.outcome} ({ended.status}) instead of {user.role.outcome} "
        f"({user.role.status}): {ended.reason}"
    ]


def _differences_of_keys(user: UserSeen, current: str) -> list[str]:
    name, new = user.role.name, user.new_key
    if new is None:
        return [f"{name}: there is no new key"]
    kept, off = (new, user.old_key) if user.role.outcome == "ROTATED" else (user.old_key, new)
    wanted = {kept: "Active", off: "Inactive"}
    found = [
        f"{name}: the key {masked(key)} is {user.keys.get(key, 'missing')} instead of {status}"
        for key, status in wanted.items()
        if user.keys.get(key) != status
    ]
    if len(user.keys) != len(wanted):
        found.append(f"{name}: has {len(user.keys)} keys instead of {len(wanted)}")
    if current != kept:
        found.append(f"{name}: AWSCURRENT holds {masked(current)} instead of {masked(kept)}")
    if "CLAIM" in user.labels:
        found.append(f"{name}: the claim is still held")
    return found


def _differences_of_consumers(user: UserSeen, current: str) -> list[str]:
    found = []
    for consumer in user.consumers:
        name = consumer.role.name
        if consumer.access_key_id != current:
            found.append(f"{name}: signs with {masked(consumer.access_key_id)}, not AWSCURRENT")
        if consumer.role.well_behaved and consumer.errors:
            found.append(f"{name}: {consumer.errors} calls failed ({consumer.last_error})")
        elif consumer.failing_since is not None:
            found.append(f"{name}: its calls still fail ({consumer.last_error})")
        elif not consumer.role.well_behaved and consumer.recovered_at is None:
            found.append(f"{name}: was never cut off, so there was nothing to recover from")
        if consumer.role.health and consumer.health != 200:
            found.append(f"{name}: its health endpoint says {consumer.health}")
    return found
