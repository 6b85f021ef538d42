"""Locks and changes rows of approval policies."""

from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from po_api.approval_policies.domain import DocumentType, PolicyStatus
from po_api.approval_policies.models import ApprovalPolicy, ApprovalRule
from po_api.db.locks import lock_in_organisation


class PolicyRepository:
    """The policies of an organisation. Their rules are locked with them."""

    def __init__(self, session: AsyncSession, organisation_id: int) -> None:
        self._session = session
        self._organisation_id = organisation_id

    async def serialise(self) -> None:
        """Let new versions be added and published one after the other."""
        await lock_in_organisation(self._session, "approval policies", self._organisation_id)

    async def locked(self, policy_id: int) -> ApprovalPolicy | None:
        key = (self._organisation_id, policy_id)
        lock = {"key_share": True}
        return await self._session.get(ApprovalPolicy, key, with_for_update=lock, populate_existing=True)

    async def locked_published(self, document_type: str) -> ApprovalPolicy | None:
        """The published version."""
        statement = (
            select(ApprovalPolicy)
            .where(
                ApprovalPolicy.organisation_id == self._organisation_id,
                ApprovalPolicy.document_type == document_type,
                ApprovalPolicy.status == PolicyStatus.PUBLISHED,
            )
            .with_for_update(key_share=True)
            .execution_options(populate_existing=True)
        )
        return (await self._session.scalars(statement)).one_or_none()

    async def last_version_no(self, document_type: DocumentType) -> int:
        """The highest number of a version; 0 without any."""
        highest = select(func.coalesce(func.max(ApprovalPolicy.version_no), 0)).where(
            ApprovalPolicy.organisation_id == self._organisation_id, ApprovalPolicy.document_type == document_type
        )
        return await self._session.scalar(highest) or 0

    async def rules(self, policy_id: int) -> Sequence[ApprovalRule]:
        """The rules of a policy, in the order of their stages and positions."""
        statement = (
            select(ApprovalRule)
            .where(ApprovalRule.organisation_id == self._organisation_id, ApprovalRule.policy_id == policy_id)
            .order_by(ApprovalRule.stage, ApprovalRule.position, ApprovalRule.id)
        )
        return (await self._session.scalars(statement)).all()
