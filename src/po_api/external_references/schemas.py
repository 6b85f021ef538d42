"""Bodies of requests and responses about external references."""

from datetime import datetime
from typing import Annotated

from pydantic import Field, StringConstraints

from po_api.external_references.domain import ReferencedEntity
from po_api.web.schemas import Page, Reference, Schema, ShortText

System = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z0-9][a-z0-9_.-]{0,49}$"),
    Field(description="The name of the other system", examples=["sap"]),
]
ExternalId = Annotated[ShortText, Field(description="The id in the other system", examples=["4711"])]


class ExternalReferencePut(Schema):
    """The id of an entity in another system."""

    entity: ReferencedEntity
    entity_id: Reference
    system: System
    external_id: ExternalId


class ExternalReferenceRead(Schema):
    """The id of an entity in another system."""

    id: int
    entity: ReferencedEntity
    entity_id: int
    system: str = Field(examples=["sap"])
    external_id: str = Field(examples=["4711"])
    created_at: datetime


class ExternalReferencePage(Page):
    """One page of external references."""

    items: list[ExternalReferenceRead]
