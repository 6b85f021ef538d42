"""Users: accounts, and identifying them. Joining and leaving organisations is in `membership_service`."""

from collections.abc import Sequence
from decimal import Decimal

from sqlalchemy.ext.asyncio import AsyncSession

from po_api import audit
from po_api.core.actor import Actor, Principal
from po_api.core.clock import utc_now
from po_api.core.email import comparable_email
from po_api.core.errors import Unauthenticated
from po_api.core.permissions import Role
from po_api.db.database import enter_tenant
from po_api.members.domain import Person
from po_api.members.errors import UserNotFound
from po_api.members.joining import add_member
from po_api.users.domain import Identity
from po_api.users.errors import IdentityMismatch, UserDeactivated
from po_api.users.models import User
from po_api.users.repository import ListedUser, UserRepository


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

    async def all(self) -> Sequence[ListedUser]:
        return await self._repository.all()

    async def create(
        self,
        *,
        email: str,
        name: str,
        organisation_id: int | None,
        roles: Sequence[Role] = (Role.REQUESTER,),
        approval_limit: Decimal | None = None,
        is_operator: bool = False,
    ) -> User:
        """Create an account and, in an organisation, the member: an operator does so at the command line.

        The tenant must have been entered. An address in use violates a constraint (EmailTaken).
        """
        user = User(email=comparable_email(email), name=name, organisation_id=organisation_id, is_operator=is_operator)
        self._session.add(user)
        await self._session.flush()
        if organisation_id is not None:
            # As for everybody who joins: a change of the base currency waits for its members, whom it has to see.
            await self._repository.lock_organisations([organisation_id])
            person = Person(user.id, user.email, name)
            member = await add_member(self._session, organisation_id, person, roles, approval_limit=approval_limit)
            after = {"roles": member.roles, "approval_limit": approval_limit}
            change = audit.Change("user.create", "user", user.id, None, after, member.version)
            await audit.record(self._session, Actor.command_line(organisation_id), change)
        return user

    async def identified(self, identity: Identity) -> User:
        """The user of an identity, found by issuer and subject; at the first sign-in by the address, or created.

        Raises IdentityMismatch if the user with the address has signed in with another identity, and UserDeactivated.
        """
        user = await self._repository.by_identity(identity.issuer, identity.subject)
        if user is None:
            user = await self._known_by_address(identity)
        if not user.is_active:
            raise UserDeactivated
        return user

    async def _known_by_address(self, identity: Identity) -> User:
        await self._repository.ensure(identity.email, identity.name)
        user = await self._repository.locked_by_email(identity.email)
        assert user is not None
        if user.google_id is None:
            user.identity_issuer, user.google_id = identity.issuer, identity.subject
            user.version += 1
            if user.organisation_id is not None:
                await enter_tenant(self._session, user.organisation_id)
                actor = Actor(user.organisation_id, user.id, frozenset())
                await audit.record(self._session, actor, audit.Change("user.identify", "user", user.id))
            await self._session.flush()
        elif (user.identity_issuer, user.google_id) != (identity.issuer, identity.subject):
            raise IdentityMismatch
        return user

    async def require_unchanged(self, principal: Principal) -> None:
        """Lock the account, so that the membership does not end before the transaction; Unauthenticated if it has."""
        if not await self._repository.is_unchanged(principal):
            raise Unauthenticated

    async def set_active(self, user: User, *, active: bool) -> None:
        """Deactivate or reactivate an account; deactivating ends its sessions and keys for good."""
        user = await self._repository.locked(user.id)
        if user.is_active is not active:
            user.is_active = active
            user.version += 1
            user.credentials_version += int(not active)
            await self._session.flush()

    async def rename(self, user_id: int, name: str) -> None:
        """Change the name of an account: it is shown where the user joins next."""
        user = await self._repository.locked(user_id)
        if user.name != name:
            user.name = name
            user.version += 1
            await self._session.flush()

    async def signed_in(self, user: User) -> None:
        """Store the time of a sign-in."""
        user.last_login = utc_now()
        await self._session.flush()
