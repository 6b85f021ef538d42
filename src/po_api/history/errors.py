"""Errors of the audit trail."""

from po_api.core.errors import FieldError, Unprocessable


class EntityRequired(Unprocessable):
    """`entity_id` is an id among the entities of one kind: name the kind with `entity`, too."""

    code = "entity_required"
    title = "Kind of entity required"

    def __init__(self) -> None:
        super().__init__(errors=(FieldError("/entity_id", self.code, self.title, "query"),))
