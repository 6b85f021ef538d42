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
    ip_address: str | None
    user_agent: str | None
    is_current: bool = Field(description="Whether this request came with it")


class SessionPage(Page):
    """One page of sessions."""

    items: list[SessionRead]
