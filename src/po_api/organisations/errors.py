"""What can go wrong with an organisation."""

from po_api.core.errors import Conflict, Forbidden, NotFound


class OrganisationNotFound(NotFound):
    """There is no such organisation, or none that you may see."""

    code = "organisation_not_found"
    title = "There is no such organisation"


class AlreadyMember(Conflict):
    """You belong to an organisation already."""

    code = "already_member"
    title = "You belong to an organisation already"


class OperatorsOnly(Forbidden):
    """Only the operators of this installation may list organisations."""

    code = "operators_only"
    title = "Only operators may do this"
