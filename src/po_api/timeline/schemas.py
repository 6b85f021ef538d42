"""Bodies of responses about timelines."""

from datetime import datetime

from pydantic import Field

from po_api.core.actor import ActorKind
from po_api.timeline.domain import TimelineKind
from po_api.web.schemas import Page, Schema


class TimelineActor(Schema):
    """Who has done it; `id` and `name` are those of a member, also for an API key."""

    kind: ActorKind | None
    id: int | None
    name: str | None = Field(examples=["Bo Buyer"])


class TimelineEntry(Schema):
    """An entry: what happened, and when. More kinds and codes may be added."""

    at: datetime
    kind: TimelineKind
    id: int = Field(description="Of the event, decision, comment or file; unique among the entries of a kind")
    actor: TimelineActor
    summary_code: str = Field(description="What happened, as a type of events", examples=["porf.submitted"])
    data: dict[str, object] = Field(description="Depends on the kind: the changes of an event, the text of a comment …")


class TimelinePage(Page):
    """One page of a timeline, oldest first by default."""

    items: list[TimelineEntry]
