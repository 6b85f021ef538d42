"""How keys are made and read."""

from datetime import datetime
from typing import Annotated, Self

from pydantic import AfterValidator, Field, Strict

from po_api.api_keys.domain import DEFAULT_LIFETIME_DAYS, DEFAULT_OVERLAP, MAX_LIFETIME_DAYS, MAX_OVERLAP, prefix_of
from po_api.api_keys.models import ApiKey
from po_api.api_keys.queries import ApiKeyRow
from po_api.core.permissions import Scope
from po_api.web.schemas import Page, Schema, ShortText, unique

KeyName = Annotated[ShortText, Field(examples=["ERP import"])]


Scopes = Annotated[
    list[Scope],
    Field(min_length=1, max_length=len(Scope), examples=[["porfs:read", "porfs:write"]]),
    AfterValidator(unique),
]


LifetimeDays = Annotated[int, Strict(), Field(ge=1, le=MAX_LIFETIME_DAYS)]


class ApiKeyCreate(Schema):
    """A new key: it acts as the caller, within their roles and these scopes."""

    name: KeyName
    scopes: Scopes
    expires_in_days: LifetimeDays = DEFAULT_LIFETIME_DAYS


class ApiKeyRotation(Schema):
    """How long the old key goes on beside its successor, and how long that lives."""

    overlap_seconds: Annotated[int, Strict(), Field(ge=0, le=int(MAX_OVERLAP.total_seconds()))] = int(
        DEFAULT_OVERLAP.total_seconds()
    )
    expires_in_days: LifetimeDays = DEFAULT_LIFETIME_DAYS


class ApiKeyRead(Schema):
    """A key, but for its secret."""

    id: int
    user_id: int = Field(description="Whom it acts for")
    name: KeyName
    prefix: str = Field(description="How the key begins", examples=["po_7_"])
    scopes: list[Scope]
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None = Field(description="To the minute")

    @classmethod
    def of(cls, row: ApiKey | ApiKeyRow, **secret: str) -> Self:
        fields = {name: getattr(row, name) for name in ApiKeyRead.model_fields if name != "prefix"}
        return cls.model_validate({**fields, "prefix": prefix_of(row.id), **secret})


class ApiKeyCreated(ApiKeyRead):
    """A new key; `key` is shown this once."""

    key: str = Field(description="Send it as `Authorization: Bearer …`", examples=[f"po_7_{'x' * 49}"])


class ApiKeyPage(Page):
    """One page of keys."""

    items: list[ApiKeyRead]
