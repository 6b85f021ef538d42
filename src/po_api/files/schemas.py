"""Bodies of requests and responses about files."""

from datetime import datetime
from typing import Annotated, Self

from fastapi import UploadFile
from pydantic import MISSING, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from po_api.files.domain import FileVisibility
from po_api.web.schemas import Id, Page, Schema, require_file


class FileBody(BaseModel):
    """The form of an upload. An empty field counts as omitted."""

    model_config = ConfigDict(extra="forbid")

    file: Annotated[
        UploadFile,
        BeforeValidator(require_file),
        Field(description="PDF, PNG, JPEG, XLSX, DOCX, EML, CSV or TXT of at most 20 MiB; the content decides"),
    ]
    comment_id: (
        Annotated[Id, Field(description="A comment of the caller on this document that has the file")] | MISSING
    ) = MISSING

    @model_validator(mode="before")
    @classmethod
    def _leave_out_empty(cls, fields: dict[str, object]) -> dict[str, object]:
        return {name: value for name, value in fields.items() if value != "" or name not in cls.model_fields}

    @property
    def comment(self) -> int | None:
        """The comment that gets the file; None for the document itself."""
        return self.comment_id if isinstance(self.comment_id, int) else None


class OrderFileBody(FileBody):
    """The form of an upload to an order."""

    visibility: Annotated[
        FileVisibility, Field(description="`supplier`: the file is sent to the supplier with the order")
    ] = FileVisibility.INTERNAL

    @model_validator(mode="after")
    def _check_visibility(self) -> Self:
        if self.visibility is FileVisibility.SUPPLIER and self.comment is not None:
            raise PydanticCustomError("ambiguous", "must have either comment_id or the visibility supplier")
        return self


class FileRead(Schema):
    """A file of a request or an order, or of a comment on it."""

    id: int
    comment_id: int | None = Field(description="The comment that the file belongs to; null for the document itself")
    name: str = Field(examples=["quote.pdf"])
    media_type: str = Field(examples=["application/pdf"])
    size: int = Field(description="In bytes", examples=[48213])
    digest: str = Field(
        description="SHA-256 of the content, as hexadecimal digits",
        examples=["2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"],
    )
    visibility: FileVisibility
    frozen_revision: int | None = Field(
        description="The first revision of the order that the supplier gets the file with; null before the issue"
    )
    uploaded_by_id: int
    uploaded_by_name: str = Field(examples=["Bo Buyer"])
    created_at: datetime


class FilePage(Page):
    """One page of files."""

    items: list[FileRead]
