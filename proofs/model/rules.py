"""The rules of the protocol, each a switch: with all of them on, no invariant breaks."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace


def _rule(number: str, text: str) -> bool:
    made: bool = field(default=True, metadata={"number": number, "text": text})
    return made


@dataclass(frozen=True)
class Rules:
    """Which rules are in force. The numbers are those of the design; `+` marks an addition."""

    compare_and_swap: bool = _rule(
        "1", "The label CLAIM is moved only from the version that it was seen on."
    )
    decide_again: bool = _rule(
        "1", "What was decided before the claim is decided again under it, where it is binding."
    )
    claimant_ended: bool = _rule(
        "2", "A claimant that may still be running is not taken over: unknown is not dead."
    )
    claimant_fenced: bool = _rule(
        "2", "An ended claimant is taken over only when its last call cannot take effect any more."
    )
    retries_wait: bool = _rule(
        "2", "A retry waits until the invocation that it repeats cannot be running any more."
    )
    not_redriven: bool = _rule("2", "A redriven execution changes nothing.")
    back_out_waits: bool = _rule(
        "2", "Going back waits until the deactivation that failed cannot take effect any more."
    )
    discard_waits: bool = _rule(
        "2", "Discarding waits until the issuing or publishing that failed cannot take effect."
    )
    discard_looks: bool = _rule(
        "3", "Discard New Key looks again whether AWSCURRENT is on the new version."
    )
    keys_before: bool = _rule(
        "4", "A key that existed before the claimant (KeysBefore) is nobody's orphan."
    )
    inherits: bool = _rule("4", "Who takes a claim over inherits its KeysBefore.")
    window: bool = _rule(
        "5", "An orphan was created between a claim and its claimant's fenced end."
    )
    only_recorded: bool = _rule(
        "5", "Room is made only from keys that our own record says we deactivated."
    )
    names_the_dead: bool = _rule(
        "6", "The automatic back-out acts only if the claim names the execution that died."
    )
    retire_current: bool = _rule(
        "7", "RetireKey deletes only while AWSCURRENT is its own rotation's version."
    )
    retire_claim: bool = _rule("7", "RetireKey does not take over what died undecided.")
    exposed_stays: bool = _rule("8", "A key that is marked as exposed is never reactivated.")
    own_claim: bool = _rule("9", "Labels are removed only under one's own claim.")

    alive_keeps_claim: bool = _rule(
        "+", "A skip or a rejection takes no claim, least of all that of a running execution."
    )
    mark_takes_nothing: bool = _rule(
        "+", "To mark an exposed key, or to tidy up, no claim is taken that died undecided."
    )
    intent_as_found: bool = _rule(
        "+", "A claim is not taken with an intent that an earlier try wrote about another world."
    )
    intent_is_the_claimants: bool = _rule(
        "+", "Who decides sees to it that INTENT is on its own intent, not on a late loser's."
    )
    taken_claim_stays: bool = _rule(
        "+", "A take-over that fails leaves the claim: it alone knows the keys of before."
    )
    backout_stays: bool = _rule(
        "+", "BACKOUT stays when a back-out ends with both keys active: it tells which was new."
    )

    def without(self, name: str) -> Rules:
        """Return these rules with one switched off."""
        return replace(self, **{name: False})


ALL = Rules()
NAMES = tuple(each.name for each in fields(Rules))


def number_of(name: str) -> str:
    """Return the number that the design gives to a rule."""
    return str(next(each for each in fields(Rules) if each.name == name).metadata["number"])


def text_of(name: str) -> str:
    """Return what a rule says, in one sentence."""
    return str(next(each for each in fields(Rules) if each.name == name).metadata["text"])
