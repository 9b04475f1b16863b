"""The frozen pydantic model that every value of the wire, of records and of settings is."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class Model(BaseModel):
    """A value: it never changes, has no unknown field, and is camelCase outside of Python."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=to_camel,
        populate_by_name=True,
        defer_build=True,  # most processes meet a few of them only
    )
