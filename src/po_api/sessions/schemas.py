"""How sessions are read."""

from datetime import datetime

from pydantic import Field

from po_api.web.schemas import Page, Schema


class SessionRead(Schema):
    """One sign-in; its token is never shown again."""

    id: int
    created_at: datetime
    expires_at: datetime
    last_seen_at: datetime | None
    ip_address: str | None = Field(examples=["192.0.2.7"])
    user_agent: str | None = Field(examples=["Mozilla/5.0"])
    is_current: bool = Field(description="Whether this request came with it")


class SessionPage(Page):
    """One page of sessions."""

    items: list[SessionRead]
