"""The decision table: named rows as people ask about them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from keyturn.model.rotation import Policy
from keyturn.model.world import ClaimantState, Tag, World
from keyturn.rotate.decision import Ask, Decision, Step, decide
from tests.unit.worlds import (
    ARN,
    GONE,
    K1,
    K2,
    POLICY,
    claim,
    intent,
    key,
    ours,
    record,
    secret,
    world,
)

ROTATE, FORCE = Ask(), Ask(force=True)
BACK_OUT, RECOVERY = Ask(action="BACK_OUT"), Ask(action="BACK_OUT", recovery_of=ARN)
IMPOSSIBLE = POLICY.model_copy(update={"quiet_period_seconds": 700_000})


def emergency(key_id: str | None = None) -> Ask:
    return Ask(mode="EMERGENCY", exposed_key_id=key_id)


@dataclass(frozen=True)
class Row:
    """A world, a request, and the step (with some of its ids) that has to come out."""

    name: str
    world: World
    ask: Ask
    step: Step
    says: str = ""
    old: str | None = None
    new: str | None = None
    room: str | None = None
    urgent: bool = False
    policy: Policy = field(default_factory=lambda: POLICY)


one_key = world(key(K1), secret=secret(ours(K1)))
published = secret(ours(K2), backout=ours(K1))
pending = secret(ours(K1), pending=ours(K2))
restored = secret(ours(K1), backout=ours(K1))
young = key(K2, days_old=0.04)
both = (key(K1), young)
inactive = key(K1, active=False)
retained = secret(ours(K2), backout=ours(K1), record=record(K1, retained_days=6))
exposed_old = secret(ours(K2), backout=ours(K1), exposed=ours(K1))
emergency_claim = claim(of=intent(mode="EMERGENCY"))
unseen = key(K2, days_old=0.02, used_days_ago=None)
exposed_new = secret(ours(K2), backout=ours(K1), exposed=ours(K2))
exposed_pending = secret(ours(K1), pending=ours(K2), exposed=ours(K2))
both_exposed = secret(ours(K1), pending=ours(K2), exposed=ours(K2), record={Tag.EXPOSED_KEYS: K1})
long_ago = intent(minutes_ago=60 * 72)

ROWS = [
    # Who and what
    Row("no such user", world(exists=False), ROTATE, Step.REJECT, "does not exist"),
    Row("unmanaged user", world(key(K1), managed=False), ROTATE, Step.REJECT, "not managed"),
    Row("how to", world(key(K1), managed=False), ROTATE, Step.REJECT, "`keyturn onboard u`"),
    Row("comma in the name", world(key(K1), name="a,b"), ROTATE, Step.REJECT, "comma"),
    Row(
        "a person's user",
        replace(one_key, has_console_password=True),
        ROTATE,
        Step.REJECT,
        "console password",
    ),
    Row(
        "a person's user, forced",
        replace(one_key, has_console_password=True),
        FORCE,
        Step.ISSUE,
        old=K1,
    ),
    Row(
        "secret scheduled for deletion",
        world(key(K1), secret=secret(scheduled_for_deletion=True)),
        ROTATE,
        Step.REJECT,
        "scheduled for deletion",
    ),
    Row(
        "secret of a service",
        world(key(K1), secret=secret(owning_service="rds")),
        ROTATE,
        Step.REJECT,
        "belongs to the service rds",
    ),
    Row(
        "native rotation",
        world(key(K1), secret=secret(ours(K1), rotation_enabled=True)),
        ROTATE,
        Step.REJECT,
        "native rotation",
    ),
    Row(
        "timing that cannot be met",
        one_key,
        ROTATE,
        Step.REJECT,
        "pickupTimeoutSeconds",
        policy=IMPOSSIBLE,
    ),
    # Starting
    Row("one old key", one_key, ROTATE, Step.ISSUE, "rotating", old=K1),
    Row("no key, no secret", world(), ROTATE, Step.ISSUE, "first key"),
    Row("only an inactive key", world(inactive), ROTATE, Step.ISSUE, "first key"),
    Row("no secret: adoption", world(key(K1)), ROTATE, Step.ISSUE, old=K1),
    Row(
        "AWSCURRENT names a deleted key: adoption",
        world(key(K1), secret=secret(ours(GONE))),
        ROTATE,
        Step.ISSUE,
        old=K1,
    ),
    Row(
        "young key",
        world(key(K1, days_old=0.5), secret=secret(ours(K1))),
        ROTATE,
        Step.SKIP,
        "seconds old",
    ),
    Row(
        "young key, forced",
        world(key(K1, days_old=0.5), secret=secret(ours(K1))),
        FORCE,
        Step.ISSUE,
        old=K1,
    ),
    Row(
        "unused key",
        world(key(K1, used_days_ago=90), secret=secret(ours(K1))),
        ROTATE,
        Step.SKIP,
        "not been used for 90 days",
    ),
    Row(
        "never used and old enough to say so",
        world(key(K1, used_days_ago=None), secret=secret(ours(K1))),
        ROTATE,
        Step.SKIP,
        "not been used for 100 days",
    ),
    Row(
        "never used, but young",
        world(key(K1, days_old=30, used_days_ago=None), secret=secret(ours(K1))),
        ROTATE,
        Step.ISSUE,
        old=K1,
    ),
    Row("two foreign active keys", world(*both), ROTATE, Step.REJECT, "two active keys"),
    Row(
        "a second active key in no version",
        world(*both, secret=secret(ours(K1))),
        ROTATE,
        Step.REJECT,
        "no room",
    ),
    Row(
        "an inactive key that a person deactivated",
        world(key(K1), key(K2, active=False), secret=secret(ours(K1))),
        ROTATE,
        Step.REJECT,
        "not one that Keyturn deactivated",
    ),
    Row(
        "an inactive key that we deactivated",
        world(key(K1), key(K2, active=False), secret=secret(ours(K1), record=record(K2))),
        ROTATE,
        Step.ISSUE,
        old=K1,
        room=K2,
    ),
    Row(
        "within the retention",
        world(inactive, key(K2), secret=retained),
        ROTATE,
        Step.SKIP,
        "kept until",
    ),
    Row(
        "within the retention, forced",
        world(inactive, key(K2), secret=retained),
        FORCE,
        Step.ISSUE,
        old=K2,
        room=K1,
    ),
    Row(
        "kept until the slot is needed",
        world(inactive, key(K2), secret=secret(ours(K2), backout=ours(K1), record=record(K1))),
        ROTATE,
        Step.ISSUE,
        old=K2,
        room=K1,
    ),
    Row(
        "foreign AWSPENDING",
        world(key(K1), secret=secret(ours(K1), pending="some-other-rotator-0123456789abcdef")),
        ROTATE,
        Step.REJECT,
        "AWSPENDING",
    ),
    # Claims
    Row(
        "already being rotated",
        replace(one_key, claim=claim(ClaimantState.RUNNING)),
        ROTATE,
        Step.REJECT,
        ARN,
    ),
    Row(
        "the other one ended a moment ago",
        replace(one_key, claim=claim(free_in_seconds=30)),
        ROTATE,
        Step.REJECT,
        "start again after",
    ),
    Row(
        "the other one cannot be looked up",
        replace(one_key, claim=claim(ClaimantState.UNKNOWN)),
        ROTATE,
        Step.REJECT,
        "unknown never counts as dead",
    ),
    Row(
        "the other one cannot be looked up since yesterday",
        replace(one_key, claim=claim(ClaimantState.UNKNOWN, of=intent(minutes_ago=60 * 25))),
        ROTATE,
        Step.ISSUE,
        old=K1,
    ),
    Row(
        "a claim that is not ours",
        replace(one_key, claim=replace(claim(ClaimantState.UNKNOWN), intent=None)),
        ROTATE,
        Step.REJECT,
        "which Keyturn did not write",
    ),
    # Resuming
    Row(
        "died before creating",
        replace(one_key, claim=claim()),
        ROTATE,
        Step.ISSUE,
        old=K1,
    ),
    Row(
        "died after creating, before storing: an orphan",
        world(
            key(K1),
            key(K2, days_old=0.041, used_days_ago=None),
            secret=secret(ours(K1)),
            claim=claim(),
        ),
        ROTATE,
        Step.ISSUE,
        old=K1,
        room=K2,
    ),
    Row(
        "a key in the slot that was used is nobody's orphan",
        world(key(K1), key(K2, days_old=0.041), secret=secret(ours(K1)), claim=claim()),
        ROTATE,
        Step.REJECT,
        "no room",
    ),
    Row(
        "died after storing",
        world(*both, secret=pending, claim=claim()),
        ROTATE,
        Step.RESUME_PROVE,
        old=K1,
        new=K2,
    ),
    Row(
        "died between BACKOUT and AWSCURRENT",
        world(*both, secret=secret(ours(K1), pending=ours(K2), backout=ours(K1)), claim=claim()),
        ROTATE,
        Step.RESUME_PROVE,
        old=K1,
        new=K2,
    ),
    Row(
        "stored, and its key was deleted since",
        world(key(K1), secret=pending, claim=claim()),
        ROTATE,
        Step.ISSUE,
        old=K1,
    ),
    Row(
        "stored, and its key was deactivated since",
        world(key(K1), key(K2, active=False, days_old=0.04), secret=pending, claim=claim()),
        ROTATE,
        Step.ISSUE,
        old=K1,
        room=K2,
    ),
    Row(
        "died while waiting for the consumers",
        world(*both, secret=published, claim=claim()),
        ROTATE,
        Step.RESUME_PICKUP,
        old=K1,
        new=K2,
    ),
    Row(
        "called for attention",
        world(*both, secret=published, last_intent=intent()),
        ROTATE,
        Step.RESUME_PICKUP,
        old=K1,
        new=K2,
    ),
    Row(
        "died while watching",
        world(
            inactive,
            key(K2),
            secret=secret(ours(K2), backout=ours(K1), record=record(K1)),
            claim=claim(),
        ),
        ROTATE,
        Step.RESUME_WATCH,
        old=K1,
        new=K2,
    ),
    Row(
        "an adoption called for attention",
        world(*both, secret=secret(ours(K2)), last_intent=intent()),
        ROTATE,
        Step.RESUME_PICKUP,
        old=K1,
        new=K2,
    ),
    Row(
        "died in the back-out, after the old version was put back",
        world(*both, secret=restored, claim=claim(of=intent(action="BACK_OUT"))),
        ROTATE,
        Step.FINISH_BACK_OUT,
        old=K1,
        new=K2,
    ),
    Row(
        "a person deleted the new key",
        world(key(K1), secret=published, claim=claim()),
        ROTATE,
        Step.REJECT,
        "deleted",
    ),
    Row(
        "a person deleted the old key",
        world(key(K2), secret=published, claim=claim()),
        FORCE,
        Step.ISSUE,
        old=K2,
    ),
    # Backing out
    Row("nothing to undo", one_key, BACK_OUT, Step.SKIP, "nothing to undo"),
    Row(
        "back out a running rotation",
        world(*both, secret=published, claim=claim(ClaimantState.RUNNING)),
        BACK_OUT,
        Step.STOP_CLAIMANT,
    ),
    Row(
        "back out a running back-out",
        world(
            *both,
            secret=published,
            claim=claim(ClaimantState.RUNNING, of=intent(action="BACK_OUT")),
        ),
        BACK_OUT,
        Step.REJECT,
        "already being worked on (BACK_OUT)",
    ),
    Row(
        "back out a running emergency",
        world(
            *both,
            secret=published,
            claim=claim(ClaimantState.RUNNING, of=intent(mode="EMERGENCY")),
        ),
        BACK_OUT,
        Step.REJECT,
        "must never come back",
    ),
    Row(
        "wait for the fence",
        world(*both, secret=published, claim=claim(free_in_seconds=30)),
        BACK_OUT,
        Step.WAIT,
    ),
    Row(
        "whoever stopped it goes first",
        world(*both, secret=published, claim=claim(stopped_by_takeover=True)),
        RECOVERY,
        Step.WAIT,
    ),
    Row(
        "published",
        world(*both, secret=published, claim=claim()),
        RECOVERY,
        Step.BACK_OUT,
        old=K1,
        new=K2,
    ),
    Row(
        "deactivated",
        world(
            inactive,
            key(K2),
            secret=secret(ours(K2), backout=ours(K1), record=record(K1)),
            claim=claim(),
        ),
        RECOVERY,
        Step.BACK_OUT,
        old=K1,
        new=K2,
    ),
    Row(
        "within the retention, by hand",
        world(inactive, key(K2), secret=retained),
        BACK_OUT,
        Step.BACK_OUT,
        old=K1,
        new=K2,
    ),
    Row(
        "deactivated by a person",
        world(inactive, key(K2), secret=published, claim=claim()),
        BACK_OUT,
        Step.REJECT,
        "did not deactivate it",
    ),
    Row(
        "stored only",
        world(*both, secret=pending, claim=claim()),
        RECOVERY,
        Step.DISCARD,
        old=K1,
        new=K2,
    ),
    Row("claimed only", replace(one_key, claim=claim()), RECOVERY, Step.DISCARD, old=K1),
    Row(
        "put back already",
        world(*both, secret=restored, claim=claim()),
        RECOVERY,
        Step.FINISH_BACK_OUT,
        old=K1,
        new=K2,
    ),
    Row("the claim is gone", one_key, RECOVERY, Step.SKIP, "claim is gone"),
    Row(
        "the claim is another's",
        replace(one_key, claim=claim()),
        Ask(action="BACK_OUT", recovery_of="arn:other"),
        Step.SKIP,
        "claim is held by",
    ),
    Row(
        "redriven meanwhile",
        replace(one_key, claim=claim(ClaimantState.RUNNING)),
        RECOVERY,
        Step.SKIP,
        "running again",
    ),
    Row(
        "an exposed old key",
        world(*both, secret=exposed_old),
        BACK_OUT,
        Step.REJECT,
        "must never come back; start a ROTATE",
    ),
    Row(
        "an exposed old key after the decision: no rotation is left to finish",
        world(inactive, key(K2), secret=exposed_old),
        BACK_OUT,
        Step.REJECT,
        "must never come back; the way is forward: move the consumers",
    ),
    # Exposed keys
    Row("one key", one_key, emergency(), Step.ISSUE, old=K1, urgent=True),
    Row("one key, no secret", world(key(K1)), emergency(K1), Step.ISSUE, old=K1, urgent=True),
    Row("two keys, none named", world(*both), emergency(), Step.REJECT, "accessKeyId"),
    Row("no active key", world(inactive), emergency(), Step.SKIP, "no active key"),
    Row("the key is gone", one_key, emergency(GONE), Step.SKIP, "any more"),
    Row(
        "over a running rotation",
        world(*both, secret=published, claim=claim(ClaimantState.RUNNING)),
        emergency(K1),
        Step.STOP_CLAIMANT,
    ),
    Row(
        "over a running emergency for the same key",
        world(
            *both,
            secret=exposed_old,
            claim=claim(ClaimantState.RUNNING, of=intent(mode="EMERGENCY")),
        ),
        emergency(K1),
        Step.REJECT,
        "already replacing",
    ),
    Row(
        "over a running emergency for the same key that has stored no other yet",
        world(
            *both,
            secret=secret(ours(K1), exposed=ours(K1)),
            claim=claim(
                ClaimantState.RUNNING, of=replace(intent(mode="EMERGENCY"), exposed_key_id=K1)
            ),
        ),
        emergency(K1),
        Step.REJECT,
        "already replacing",
    ),
    Row(
        "over a running emergency for another key",
        world(
            *both,
            secret=secret(ours(K1), exposed=ours(K1)),
            claim=claim(
                ClaimantState.RUNNING, of=replace(intent(mode="EMERGENCY"), exposed_key_id=K1)
            ),
        ),
        emergency(K2),
        Step.STOP_CLAIMANT,
    ),
    Row(
        "ROTATE with an exposed key in charge and no room: it goes all the same",
        world(*both, secret=secret(ours(K1), exposed=ours(K1))),
        Ask(),
        Step.EXPOSED_ONLY,
        "no room",
        old=K1,
        urgent=True,
    ),
    Row(
        "the old key of an open rotation",
        world(*both, secret=published, claim=claim()),
        emergency(K1),
        Step.CUT_OVER,
        old=K1,
        new=K2,
        urgent=True,
    ),
    Row(
        "the new key of an open rotation",
        world(*both, secret=published, claim=claim()),
        emergency(K2),
        Step.BACK_OUT,
        old=K1,
        new=K2,
    ),
    Row(
        "the key in charge while its successor is stored",
        world(*both, secret=pending, claim=claim()),
        emergency(K1),
        Step.RESUME_PROVE,
        old=K1,
        new=K2,
        urgent=True,
    ),
    Row(
        "a key that is stored and not published",
        world(*both, secret=pending, claim=claim()),
        emergency(K2),
        Step.ISSUE,
        old=K1,
        room=K2,
    ),
    Row(
        "a second key that no version holds",
        world(*both, secret=secret(ours(K1))),
        emergency(K2),
        Step.CUT_OVER,
        old=K2,
        new=K1,
        urgent=True,
    ),
    Row(
        "no room for another key",
        world(*both, secret=secret(ours(K1))),
        emergency(K1),
        Step.EXPOSED_ONLY,
        "no room",
        old=K1,
        urgent=True,
    ),
    Row(
        "in charge, its predecessor retained",
        world(inactive, key(K2), secret=retained),
        emergency(K2),
        Step.ISSUE,
        old=K2,
        room=K1,
        urgent=True,
    ),
    Row(
        "retained and exposed",
        world(inactive, key(K2), secret=retained),
        emergency(K1),
        Step.SKIP,
        "inactive already",
    ),
    Row(
        "an emergency died after publishing: forward",
        world(*both, secret=exposed_old, claim=emergency_claim),
        RECOVERY,
        Step.CUT_OVER,
        old=K1,
        new=K2,
        urgent=True,
    ),
    Row(
        "an emergency died after storing: forward",
        world(
            *both,
            secret=secret(ours(K1), pending=ours(K2), exposed=ours(K1)),
            claim=emergency_claim,
        ),
        RECOVERY,
        Step.RESUME_PROVE,
        old=K1,
        new=K2,
        urgent=True,
    ),
    Row(
        "an emergency died before creating: forward",
        world(key(K1), secret=secret(ours(K1), exposed=ours(K1)), claim=emergency_claim),
        RECOVERY,
        Step.ISSUE,
        old=K1,
        urgent=True,
    ),
    Row(
        "ROTATE with an exposed old key goes on at once",
        world(*both, secret=exposed_old),
        ROTATE,
        Step.CUT_OVER,
        old=K1,
        new=K2,
        urgent=True,
    ),
    # Whose key is it: a claimant creates its key at once, and a used key may not look used yet
    Row(
        "a key that came two days after the claim of one that lived long",
        world(
            key(K1),
            key(K2, days_old=1, used_days_ago=None),
            secret=secret(ours(K1)),
            claim=claim(of=long_ago),
        ),
        ROTATE,
        Step.REJECT,
        "no room",
    ),
    Row(
        "a key that came two days after the claim of one that nobody can look up",
        world(
            key(K1),
            key(K2, days_old=1, used_days_ago=None),
            secret=secret(ours(K1)),
            claim=claim(ClaimantState.UNKNOWN, of=long_ago),
        ),
        ROTATE,
        Step.REJECT,
        "no room",
    ),
    Row(
        "put back already, and no use of the new key is published yet",
        world(key(K1), unseen, secret=restored, claim=claim()),
        RECOVERY,
        Step.FINISH_BACK_OUT,
        old=K1,
        new=K2,
    ),
    Row(
        "put back already, no use published yet, and a ROTATE comes",
        world(key(K1), unseen, secret=restored, claim=claim()),
        ROTATE,
        Step.FINISH_BACK_OUT,
        old=K1,
        new=K2,
    ),
    Row(
        "put back and decided: the next ROTATE finishes it",
        world(*both, secret=restored, last_intent=intent()),
        ROTATE,
        Step.FINISH_BACK_OUT,
        old=K1,
        new=K2,
    ),
    Row(
        "put back, and nobody wrote down which key was there before",
        world(*both, secret=restored),
        BACK_OUT,
        Step.DISCARD,
        old=K1,
    ),
    Row(
        "in charge, put back by us and deactivated by a person",
        world(inactive, key(K2), secret=secret(ours(K1), backout=ours(K1), record=record(K1))),
        ROTATE,
        Step.REJECT,
        "no room",
    ),
    Row(
        "AWSCURRENT holds something else",
        world(key(K1), secret=secret("11111111-2222-3333-4444-555555555555")),
        ROTATE,
        Step.REJECT,
        "something else than an access key",
    ),
    Row(
        "a retirement that nobody can look up leaves nothing undecided",
        world(
            inactive,
            key(K2),
            secret=retained,
            claim=claim(ClaimantState.UNKNOWN, of=intent(action="RETIRE", minutes_ago=60 * 25)),
        ),
        ROTATE,
        Step.SKIP,
        "kept until",
    ),
    # What was decided before is not undone because a later execution died
    Row(
        "a forced rotation died before it had published: the one before stays",
        world(inactive, key(K2), secret=retained, claim=claim(of=intent(before=(K1, K2), old=K2))),
        RECOVERY,
        Step.DISCARD,
        "nothing had been published",
        old=K2,
    ),
    Row(
        "a forced rotation died before it had published: the one before is not watched again",
        world(inactive, key(K2), secret=retained, claim=claim(of=intent(before=(K1, K2), old=K2))),
        ROTATE,
        Step.SKIP,
        "kept until",
    ),
    Row(
        "its own intent does not make a deleted key in charge look like an adoption",
        world(
            key(K2),
            secret=secret(ours(K1)),
            claim=claim(ClaimantState.RUNNING, of=intent(before=(K2, K1), old=K2)),
            holding=True,
        ),
        ROTATE,
        Step.ISSUE,
        old=K2,
    ),
    Row(
        "an earlier start wrote the other key down: the deleted one is no adoption",
        world(key(K2), secret=secret(ours(K1)), last_intent=intent(before=(K1, K2), old=K2)),
        ROTATE,
        Step.ISSUE,
        old=K2,
    ),
    Row(
        "put back, and the other key came after the execution had ended",
        world(
            key(K1),
            young,
            secret=restored,
            claim=claim(of=intent(minutes_ago=60 * 24 * 3), free_in_seconds=-60 * 60 * 48),
        ),
        RECOVERY,
        Step.DISCARD,
        old=K1,
    ),
    # Half-way back
    Row(
        "published, and AWSPENDING names a key that is gone",
        world(
            *both,
            secret=secret(ours(K2), pending=ours(GONE), backout=ours(K1)),
            claim=claim(),
        ),
        RECOVERY,
        Step.BACK_OUT,
        old=K1,
        new=K2,
    ),
    Row(
        "put back, and AWSPENDING still names the new key",
        world(*both, secret=secret(ours(K1), pending=ours(K2), backout=ours(K1)), claim=claim()),
        RECOVERY,
        Step.FINISH_BACK_OUT,
        old=K1,
        new=K2,
    ),
    Row(
        "a first key was published: there is nothing to go back to",
        world(key(K1, days_old=0.02), secret=secret(ours(K1)), claim=claim(of=intent(before=()))),
        RECOVERY,
        Step.DISCARD,
        "no key to go back to",
        old=K1,
    ),
    # Exposed keys, met by a request that does not name them
    Row(
        "the stored key is exposed: it is replaced",
        world(*both, secret=exposed_pending, claim=claim()),
        ROTATE,
        Step.ISSUE,
        old=K1,
        room=K2,
    ),
    Row(
        "both the key in charge and the stored one are exposed",
        world(*both, secret=both_exposed, claim=emergency_claim),
        emergency(K1),
        Step.ISSUE,
        old=K1,
        room=K2,
        urgent=True,
    ),
    Row(
        "the stored key is exposed, and the one in charge is already marked",
        world(*both, secret=both_exposed, claim=emergency_claim),
        emergency(K2),
        Step.ISSUE,
        old=K1,
        room=K2,
        urgent=True,
    ),
    Row(
        "an emergency died while both were exposed: forward with a third",
        world(*both, secret=both_exposed, claim=emergency_claim),
        RECOVERY,
        Step.ISSUE,
        old=K1,
        room=K2,
        urgent=True,
    ),
    Row(
        "the old key is exposed and the new one deleted: begin again",
        world(key(K1), secret=exposed_old, claim=claim()),
        ROTATE,
        Step.ISSUE,
        old=K1,
        urgent=True,
    ),
    Row(
        "an emergency for the old key whose successor was deleted",
        world(key(K1), secret=published, claim=claim()),
        emergency(K1),
        Step.ISSUE,
        old=K1,
        urgent=True,
    ),
    Row(
        "the new key is exposed: back, not on",
        world(*both, secret=exposed_new, claim=claim()),
        ROTATE,
        Step.BACK_OUT,
        old=K1,
        new=K2,
    ),
    Row(
        "in charge and exposed, within the retention: replaced at once",
        world(
            inactive,
            key(K2),
            secret=replace(exposed_new, tags=retained.tags),
        ),
        ROTATE,
        Step.ISSUE,
        old=K2,
        room=K1,
        urgent=True,
    ),
    Row(
        "a person's user whose key is exposed",
        world(key(K1), secret=secret(ours(K1), exposed=ours(K1)), console_password=True),
        ROTATE,
        Step.ISSUE,
        old=K1,
        urgent=True,
    ),
    Row(
        "timing that cannot be met does not keep an exposed key alive",
        world(key(K1), secret=secret(ours(K1), exposed=ours(K1))),
        ROTATE,
        Step.ISSUE,
        old=K1,
        urgent=True,
        policy=IMPOSSIBLE,
    ),
    Row(
        "an emergency died between its mark and its claim: people are told",
        world(key(K1), secret=secret(ours(K1), exposed=ours(K1))),
        RECOVERY,
        Step.REJECT,
        "start the EMERGENCY again",
    ),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_a_row_of_the_table(row: Row) -> None:
    found = decide(row.world, row.ask, row.policy)
    assert found.step is row.step, found
    assert row.says in found.reason
    if found.step not in (Step.REJECT, Step.SKIP, Step.WAIT, Step.STOP_CLAIMANT):
        assert ids_of(found) == (row.old, row.new, row.room)
        assert found.emergency == row.urgent


def ids_of(decision: Decision) -> tuple[str | None, str | None, str | None]:
    return decision.old_key_id, decision.new_key_id, decision.room_key_id


def test_every_step_has_a_row() -> None:
    assert {row.step for row in ROWS} == set(Step)


def test_names_of_rows_are_unique() -> None:
    assert len({row.name for row in ROWS}) == len(ROWS)
