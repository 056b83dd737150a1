"""The decision table of a rotation: `decide` is its one entrance, `orphans` a question to it."""

from keyturn.model.decision import Ask, Decision, Step
from keyturn.rotate.decision.picture import orphans
from keyturn.rotate.decision.table import decide

__all__ = ["Ask", "Decision", "Step", "decide", "orphans"]
