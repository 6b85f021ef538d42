"""Bodies of requests and responses about API keys."""

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
    """A new API key. It acts as the caller, limited to their roles and these scopes."""

    name: KeyName
    scopes: Scopes
    expires_in_days: LifetimeDays = DEFAULT_LIFETIME_DAYS


class ApiKeyRotation(Schema):
    """How long the old key stays valid beside its successor, and the lifetime of the successor."""

    overlap_seconds: Annotated[int, Strict(), Field(ge=0, le=int(MAX_OVERLAP.total_seconds()))] = int(
        DEFAULT_OVERLAP.total_seconds()
    )
    expires_in_days: LifetimeDays = DEFAULT_LIFETIME_DAYS


class ApiKeyRead(Schema):
    """An API key, without its secret."""

    id: int
    user_id: int = Field(description="Id of the user that the key acts as")
    name: KeyName
    prefix: str = Field(description="The first characters of the key", examples=["po_7_"])
    scopes: list[Scope]
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None = Field(description="Accurate to one minute")

    @classmethod
    def of(cls, row: ApiKey | ApiKeyRow, **secret: str) -> Self:
        fields = {name: getattr(row, name) for name in ApiKeyRead.model_fields if name != "prefix"}
        return cls.model_validate({**fields, "prefix": prefix_of(row.id), **secret})


class ApiKeyCreated(ApiKeyRead):
    """A new API key. `key` is shown only in this response."""

    key: str = Field(description="Send it as `Authorization: Bearer …`", examples=[f"po_7_{'x' * 49}"])


class ApiKeyPage(Page):
    """One page of API keys."""

    items: list[ApiKeyRead]
