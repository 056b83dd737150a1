"""The form of everything that travels through a state machine as JSON."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class Carried(BaseModel):
    """A part of the carried state; unknown fields of a newer deployment pass through."""

    model_config = ConfigDict(
        extra="allow",
        alias_generator=to_camel,
        populate_by_name=True,
        hide_input_in_errors=True,
    )

    def dump(self) -> dict[str, Any]:
        """Return the JSON form, with camelCase names and ISO 8601 UTC times."""
        return self.model_dump(mode="json", by_alias=True)
