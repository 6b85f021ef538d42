"""Errors of external references."""

from po_api.core.errors import Conflict, NotFound, Unprocessable


class ExternalReferenceNotFound(NotFound):
    """The external reference does not exist, or does not belong to the caller's organisation."""

    code = "external_reference_not_found"
    title = "External reference not found"


class ExternalIdTaken(Conflict):
    """In this system, the external id already identifies another entity of the same kind. Delete that reference first,
    or use another id."""

    code = "external_id_taken"
    title = "External id taken"


class UnknownEntity(Unprocessable):
    """There is no such entity of this kind in the organisation."""

    code = "unknown_entity"
    title = "Unknown entity"
