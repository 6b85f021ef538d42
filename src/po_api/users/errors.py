"""Errors of users."""

from po_api.core.errors import Conflict, Forbidden


class EmailTaken(Conflict):
    """A user with this e-mail address already exists."""

    code = "email_taken"
    title = "E-mail address already in use"
    constraint = "uq_users_email"


class UserDeactivated(Forbidden):
    """An operator of the installation deactivated this account. Only an operator can reactivate it."""

    code = "user_deactivated"
    title = "User deactivated"


class IdentityMismatch(Conflict):
    """The user with this e-mail address has signed in with another account, or through another identity provider."""

    code = "identity_mismatch"
    title = "E-mail address belongs to another identity"
