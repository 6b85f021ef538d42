"""Dependencies of the handlers of comments."""

from typing import Annotated

from fastapi import Depends, Path

from po_api.comments.queries import SORTS
from po_api.db.pagination import PageRequest
from po_api.web.dependencies import paging
from po_api.web.schemas import MAX_ID

CommentPaging = Annotated[PageRequest, Depends(paging(*SORTS))]
CommentId = Annotated[int, Path(ge=1, le=MAX_ID)]
