"""Starts by events: what an event of AWS says, what is to be done about it, and the words for it.

`reading` parses an event, `deciding` says what follows for each affected user or key. Both are
pure: `handlers/start_rotation.py` looks the facts up in between, and acts.
"""
