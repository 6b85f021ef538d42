"""Errors of organisations."""

from po_api.core.errors import Conflict, Forbidden, NotFound, Unprocessable


class OrganisationNotFound(NotFound):
    """The organisation does not exist, or is not visible to the caller."""

    code = "organisation_not_found"
    title = "Organisation not found"


class AlreadyMember(Conflict):
    """The caller already belongs to an organisation."""

    code = "already_member"
    title = "The caller already belongs to an organisation"


class CurrencyInUse(Conflict):
    """The base currency cannot change any more: documents, approval limits or exchange rates have amounts in it, which
    would mean other amounts then. `errors` says which."""

    code = "currency_in_use"
    title = "Base currency in use"


class PrefixInUse(Unprocessable):
    """The prefix is or was that of the other kind of document: a request and a purchase order could have one number."""

    code = "prefix_in_use"
    title = "Prefix of other documents"


class FolderUnverified(Conflict):
    """The folder in Google Drive is not verified. Either there is no such folder, it is not shared with the service
    account, the file that `GET /organisations/current/filing` names is not in it, or it belongs to another
    organisation."""

    code = "folder_unverified"
    title = "Folder not verified"
    constraint = "uq_organisations_verified_folder_id"


class UnknownPlaceholder(Unprocessable):
    """The text of a mail has a placeholder that does not exist, or that subjects do not have. There are `{number}`,
    `{revision}`, `{supplier}`, `{total}`, `{needed_by}` and, in bodies only, `{link}`."""

    code = "unknown_placeholder"
    title = "Unknown placeholder"


class OperatorsOnly(Forbidden):
    """Only the operators of this installation may list organisations."""

    code = "operators_only"
    title = "Operators only"


class LogoNotFound(NotFound):
    """The organisation has no logo."""

    code = "logo_not_found"
    title = "Logo not found"


class InvalidLogo(Unprocessable):
    """The file is not a PNG image that can be printed: it has another type, is damaged, or has more than 512 kB or
    2,048 pixels in one direction."""

    code = "invalid_logo"
    title = "Not a usable PNG image"
