"""What can go wrong with a user."""

from po_api.core.errors import Conflict, Forbidden, NotFound


class UserNotFound(NotFound):
    """There is no such user, or none in your organisation."""

    code = "user_not_found"
    title = "There is no such user"


class EmailTaken(Conflict):
    """A user with this e-mail address exists already."""

    code = "email_taken"
    title = "A user with this e-mail address exists already"
    constraint = "uq_users_email"


class LastAdmin(Conflict):
    """An organisation keeps at least one active administrator: make someone else one first."""

    code = "last_admin"
    title = "An organisation keeps at least one active administrator"


class UserDeactivated(Forbidden):
    """An administrator has deactivated this user: only an administrator can take them back."""

    code = "user_deactivated"
    title = "This user is deactivated"


class IdentityMismatch(Conflict):
    """The user with this e-mail address signs in with another account of the identity provider, or at another one."""

    code = "identity_mismatch"
    title = "The user with this address signs in otherwise"
