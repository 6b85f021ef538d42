"""Organisations: their settings, and the numbers of their documents."""

import hashlib
from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from po_api import audit
from po_api.core import merge_patch
from po_api.core.actor import Actor
from po_api.core.currencies import require_current
from po_api.core.errors import FieldError
from po_api.core.parties import require_whole_identifiers
from po_api.core.permissions import Permission
from po_api.core.versions import ExpectedVersions, require_version
from po_api.db.listeners import Listeners
from po_api.organisations.domain import (
    OTHER_PREFIX,
    clashing_prefixes,
)
from po_api.organisations.errors import (
    CurrencyInUse,
    FolderUnverified,
    LogoNotFound,
    OrganisationNotFound,
    PrefixInUse,
)
from po_api.organisations.events import BaseCurrencyChanging
from po_api.organisations.mail_templates import require_known_placeholders
from po_api.organisations.models import Organisation
from po_api.organisations.parties import after_change
from po_api.organisations.repository import OrganisationRepository


class OrganisationService:
    """Creates and changes organisations, and numbers their documents; it flushes, the caller commits."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session
        self._repository = OrganisationRepository(session)

    async def create(self, **values: object) -> Organisation:
        """Create an organisation without members. Raises PrefixInUse, IncompleteIdentifier or InvalidGln."""
        organisation = Organisation(**values)
        require_whole_identifiers(after_change(organisation, values))
        self._session.add(organisation)
        await self._session.flush()
        prefixes = {name: getattr(organisation, name) for name in OTHER_PREFIX}
        _require_distinct(prefixes, {name: {prefix} for name, prefix in prefixes.items()})
        return organisation

    async def get(self, organisation_id: int) -> Organisation:
        """Raises OrganisationNotFound."""
        organisation = await self._repository.get(organisation_id)
        if organisation is None:
            raise OrganisationNotFound
        return organisation

    async def update(
        self, actor: Actor, listeners: Listeners, *, expected: ExpectedVersions, values: Mapping[str, Any]
    ) -> Organisation:
        """Change the settings of the actor's organisation; existing documents keep the settings they were created with.

        Raises MissingRole, PreconditionFailed, IncompleteIdentifier, InvalidGln, UnknownPlaceholder, CurrencyInUse or
        PrefixInUse.
        """
        actor.require(Permission.ORGANISATIONS_WRITE)
        organisation = await self._repository.locked(actor.organisation_id)
        assert organisation is not None
        require_version(organisation.version, expected)
        require_whole_identifiers(after_change(organisation, values))
        require_known_placeholders(values.get("mail_templates", {}))
        before, after = merge_patch.apply(organisation, values)
        if "currency" in after:
            require_current(organisation.currency)
            if uses := await listeners.notify(self._session, BaseCurrencyChanging(actor)):
                problems = (FieldError("/currency", CurrencyInUse.code, use.detail) for use in uses)
                raise CurrencyInUse(errors=tuple(problems))
        if changed := {name: after[name] for name in OTHER_PREFIX if name in after}:
            _require_distinct(changed, await self._prefixes(organisation, before))
        if after:
            await self._record(actor, organisation, before, after)
        return organisation

    async def set_logo(self, actor: Actor, content: bytes | None, *, expected: ExpectedVersions) -> Organisation:
        """Store or, with None, delete the logo (admins); a change of it is one of the organisation.

        `content` is a PNG image that `png.checked_png` has returned. Raises LogoNotFound if there is none to delete.
        """
        actor.require(Permission.ORGANISATIONS_WRITE)
        organisation = await self._repository.locked(actor.organisation_id)
        assert organisation is not None
        require_version(organisation.version, expected)
        if content is None and organisation.logo_digest is None:
            raise LogoNotFound
        digest = None if content is None else hashlib.sha256(content).hexdigest()
        before, after = merge_patch.apply(organisation, {"logo_digest": digest})
        if after:
            await self._repository.set_logo(organisation.id, content, digest)
            await self._record(actor, organisation, before, after)
        return organisation

    async def _record(
        self,
        actor: Actor,
        organisation: Organisation,
        before: Mapping[str, object],
        after: Mapping[str, object],
        *,
        action: str = "organisation.update",
    ) -> None:
        organisation.version += 1
        change = audit.Change(action, "organisation", organisation.id, before, after, organisation.version)
        await audit.record(self._session, actor, change)

    async def verify_folder(self, actor: Actor, folder_id: str) -> bool:
        """Record that the organisation has proved that the folder is its own; returns False if that is known.

        Raises FolderUnverified if its folder is another one by now, or the folder is another organisation's.
        """
        organisation = await self._repository.locked(actor.organisation_id)
        assert organisation is not None
        if organisation.workspace_folder_id != folder_id:
            raise FolderUnverified
        if organisation.workspace_folder_verified:
            return False
        before, after = merge_patch.apply(organisation, {"verified_folder_id": folder_id})
        await self._record(actor, organisation, before, after, action="organisation.verify_folder")
        return True

    async def allow_mail(self, actor: Actor, *, per_day: int | None) -> Organisation:
        """Let the actor's organisation send so many mails in a day, at least 1; None forbids it (operators)."""
        organisation = await self._repository.locked(actor.organisation_id)
        if organisation is None:
            raise OrganisationNotFound
        before, after = merge_patch.apply(organisation, {"mail_per_day": per_day})
        if after:
            await self._record(actor, organisation, before, after, action="organisation.allow_mail")
        return organisation

    async def _prefixes(self, organisation: Organisation, before: Mapping[str, str]) -> Mapping[str, set[str]]:
        """The present and former values of each prefix; `before` are those before the change in progress."""
        former = await self._repository.former_prefixes(organisation.id)
        return {
            name: {getattr(organisation, name), before.get(name, ""), *(getattr(row, name) for row in former)}
            for name in OTHER_PREFIX
        }


def _require_distinct(changed: Mapping[str, str], prefixes: Mapping[str, Collection[str]]) -> None:
    """Raise PrefixInUse with each of the changed prefixes that is or was one of the other kind."""
    if clashing := clashing_prefixes(changed, prefixes):
        raise PrefixInUse.at(*(f"/{name}" for name in clashing))
