"""Errors of members and invitations."""

from po_api.core.errors import Conflict, Forbidden, NotFound, Unprocessable


class UserNotFound(NotFound):
    """The user does not exist, or does not belong to the caller's organisation."""

    code = "user_not_found"
    title = "User not found"


class LastAdmin(Conflict):
    """An organisation needs at least one active administrator: give the role to another member first."""

    code = "last_admin"
    title = "The last active administrator cannot be removed"


class OwnRights(Forbidden):
    """Members cannot change their own roles, limit, manager or team, unless they are the only active member. Admins
    cannot make themselves the delegate of another member."""

    code = "own_rights"
    title = "Own rights cannot be changed"


class UnknownManager(Unprocessable):
    """The manager is no active member of the organisation."""

    code = "unknown_manager"
    title = "Unknown manager"


class ManagerCycle(Conflict):
    """The manager reports to the member, directly or through others, or is the member."""

    code = "manager_cycle"
    title = "The manager reports to the member"


class KeyCannotGrant(Forbidden):
    """API keys grant no roles above requester and no approval limits: sign in to do so."""

    code = "key_cannot_grant"
    title = "API keys cannot grant this"


class InvitationRequired(Conflict):
    """The former member cannot be reactivated, only invited again, so that they can decide."""

    code = "invitation_required"
    title = "The former member has to be invited"


class AlreadyInOrganisation(Conflict):
    """An active member of the organisation has this e-mail address."""

    code = "already_in_organisation"
    title = "Already a member of this organisation"


class AlreadyInvited(Conflict):
    """Another invitation of this e-mail address was sent at the same moment: repeat the request to replace it."""

    code = "already_invited"
    title = "Already invited"
    constraint = "ix_invitations_open"


class InvitationNotFound(NotFound):
    """The invitation does not exist, or is not visible to the caller."""

    code = "invitation_not_found"
    title = "Invitation not found"


class InvitationNotOpen(Conflict):
    """The invitation was answered or revoked, or has expired."""

    code = "invitation_not_open"
    title = "Invitation not open"
