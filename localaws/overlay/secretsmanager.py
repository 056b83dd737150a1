"""Secrets Manager as AWS answers it (in work)."""


def install() -> None:
    """Nothing yet."""
