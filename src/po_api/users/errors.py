"""Errors of users."""

from po_api.core.errors import Conflict, Forbidden, NotFound


class UserNotFound(NotFound):
    """The user does not exist, or does not belong to the caller's organisation."""

    code = "user_not_found"
    title = "User not found"


class EmailTaken(Conflict):
    """A user with this e-mail address already exists."""

    code = "email_taken"
    title = "E-mail address already in use"
    constraint = "uq_users_email"


class LastAdmin(Conflict):
    """An organisation needs at least one active administrator: give the role to another member first."""

    code = "last_admin"
    title = "The last active administrator cannot be removed"


class UserDeactivated(Forbidden):
    """An administrator deactivated this user. Only an administrator can reactivate the account."""

    code = "user_deactivated"
    title = "User deactivated"


class IdentityMismatch(Conflict):
    """The user with this e-mail address has signed in with another account, or through another identity provider."""

    code = "identity_mismatch"
    title = "E-mail address belongs to another identity"
