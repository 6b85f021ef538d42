"""What can go wrong with a user."""

from po_api.core.errors import Conflict, NotFound


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
