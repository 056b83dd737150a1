"""Step Functions as AWS runs it (in work)."""


def install() -> None:
    """Nothing yet."""
