"""Errors of organisations."""

from po_api.core.errors import Conflict, Forbidden, NotFound


class OrganisationNotFound(NotFound):
    """The organisation does not exist, or is not visible to the caller."""

    code = "organisation_not_found"
    title = "Organisation not found"


class AlreadyMember(Conflict):
    """The caller already belongs to an organisation."""

    code = "already_member"
    title = "The caller already belongs to an organisation"


class OperatorsOnly(Forbidden):
    """Only the operators of this installation may list organisations."""

    code = "operators_only"
    title = "Operators only"
