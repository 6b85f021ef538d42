"""Users: accounts, and creating an organisation. Changes of members are in `member_service`."""

from collections.abc import Sequence
from decimal import Decimal

from sqlalchemy.ext.asyncio import AsyncSession

from po_api import audit
from po_api.core.actor import Actor, Principal
from po_api.core.clock import utc_now
from po_api.core.permissions import Role
from po_api.db.database import enter_tenant
from po_api.organisations.errors import AlreadyMember
from po_api.organisations.models import Organisation
from po_api.organisations.service import OrganisationService
from po_api.users.domain import Identity, comparable_email
from po_api.users.errors import IdentityMismatch, UserDeactivated, UserNotFound
from po_api.users.models import User
from po_api.users.repository import MemberRights, UserRepository


class UserService:
    """Creates, finds and identifies users; it flushes, the caller commits."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session
        self._repository = UserRepository(session)

    async def get(self, user_id: int) -> User:
        """Any user, by id. Raises UserNotFound."""
        user = await self._repository.get(user_id)
        if user is None:
            raise UserNotFound
        return user

    async def by_email(self, email: str) -> User:
        """Any user, by e-mail address in any spelling. Raises UserNotFound."""
        user = await self._repository.by_email(comparable_email(email))
        if user is None:
            raise UserNotFound
        return user

    async def all(self) -> Sequence[User]:
        return await self._repository.all()

    async def member_rights(self, actor: Actor, user_id: int) -> MemberRights | None:
        """The committed rights of a member, locked against changes until the transaction ends; None for no member."""
        return await self._repository.member_rights(actor.organisation_id, user_id)

    async def create(
        self,
        *,
        email: str,
        name: str,
        organisation_id: int | None,
        roles: Sequence[Role] = (Role.REQUESTER,),
        approval_limit: Decimal | None = None,
        is_operator: bool = False,
        actor: Actor | None = None,
    ) -> User:
        """Create a user, who may sign in with this address. An address in use violates a constraint (EmailTaken).

        The `actor` None is the command line.
        """
        user = User(
            email=comparable_email(email),
            name=name,
            organisation_id=organisation_id,
            roles=sorted(set(roles)),
            approval_limit=approval_limit,
            is_operator=is_operator,
        )
        self._session.add(user)
        await self._session.flush()
        if organisation_id is not None:
            after = {"roles": user.roles, "approval_limit": approval_limit}
            change = audit.Change("user.create", "user", user.id, None, after)
            audit.record(self._session, actor or Actor.command_line(organisation_id), change)
            await self._session.flush()
        return user

    async def identified(self, identity: Identity) -> User:
        """The user of an identity, found by issuer and subject; at the first sign-in by the address, or created.

        Raises IdentityMismatch if the user with the address has signed in with another identity, and UserDeactivated.
        """
        user = await self._repository.by_identity(identity.issuer, identity.subject)
        if user is None:
            user = await self._joined(identity)
        if not user.is_active:
            raise UserDeactivated
        return user

    async def _joined(self, identity: Identity) -> User:
        await self._repository.ensure(identity.email, identity.name)
        user = await self._repository.locked_by_email(identity.email)
        assert user is not None
        if user.google_id is None:
            user.identity_issuer, user.google_id = identity.issuer, identity.subject
            user.version += 1
            if user.organisation_id is not None:
                await enter_tenant(self._session, user.organisation_id)
                actor = Actor(user.organisation_id, user.id, frozenset())
                audit.record(self._session, actor, audit.Change("user.identify", "user", user.id))
            await self._session.flush()
        elif (user.identity_issuer, user.google_id) != (identity.issuer, identity.subject):
            raise IdentityMismatch
        return user

    async def found_organisation(self, principal: Principal, **values: object) -> Organisation:
        """Create an organisation with the caller as its admin. Raises AlreadyMember if they belong to one."""
        user = await self._repository.locked(principal.user_id)
        if user.organisation_id is not None:
            raise AlreadyMember
        organisation = await OrganisationService(self._session).create(**values)
        user.organisation_id = organisation.id
        user.roles = sorted({*user.roles, Role.ADMIN})
        user.version += 1
        await self._session.flush()
        await enter_tenant(self._session, organisation.id)
        after = {"name": organisation.name}
        change = audit.Change("organisation.create", "organisation", organisation.id, None, after)
        audit.record(self._session, Actor(organisation.id, user.id, principal.roles), change)
        await self._session.flush()
        return organisation

    async def signed_in(self, user: User) -> None:
        """Store the time of a sign-in."""
        user.last_login = utc_now()
        await self._session.flush()
