"""Which requests a member may see, and those of them that a list is narrowed to."""

from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import ColumnElement, and_, any_, or_, select

from po_api.core.actor import Actor
from po_api.core.permissions import Permission
from po_api.db.fences import ids_of
from po_api.db.filters import attribute_of, compare, condition
from po_api.db.query import ORGANISATION_ID, USER_ID, AnySelect
from po_api.external_references.domain import ReferencedEntity
from po_api.external_references.projections import EXTERNAL_FILTERS, has_external_reference
from po_api.organisations.models import Organisation
from po_api.porfs.approval_projections import approvable
from po_api.porfs.domain import PorfStatus
from po_api.porfs.models import Porf, PorfLine
from po_api.porfs.projections import was_submitted

_PORFS = Porf.__table__


class Visibility(StrEnum):
    """Which requests a member may see."""

    ALL = "all"
    SUBMITTED = "submitted and own"
    OWN = "own"

    @classmethod
    def of(cls, actor: Actor) -> "Visibility":
        """Requesters see their own requests, approvers also all that were ever submitted, other roles all requests."""
        if actor.may(Permission.PORFS_READ_ALL):
            return cls.ALL
        return cls.SUBMITTED if actor.may(Permission.PORFS_READ_SUBMITTED) else cls.OWN


def sees(member: Actor, requester_id: int, submitted: bool) -> bool:
    """Whether a member may see a request: `visible` for one member and one request."""
    visibility = Visibility.of(member)
    is_shown = visibility is Visibility.ALL or (visibility is Visibility.SUBMITTED and submitted)
    return is_shown or requester_id == member.user_id


def visible(visibility: Visibility) -> ColumnElement[bool]:
    """The requests that a member may see: the base of each statement. Parameters: `organisation_id`, `user_id`."""
    mine = Porf.organisation_id == ORGANISATION_ID
    if visibility is Visibility.ALL:
        return mine
    own = Porf.requester_id == USER_ID
    # Once submitted, always visible to approvers: after a lost race the response is a conflict, not 404.
    return and_(mine, own if visibility is Visibility.OWN else or_(own, was_submitted(_PORFS)))


@dataclass(frozen=True)
class Chosen:
    """The conditions of a list of requests, without the search; their values are parameters."""

    visibility: Visibility
    narrowed_by: frozenset[str]
    waiting: bool
    is_approver: bool

    def __call__(self) -> AnySelect:
        conditions = [_condition(name) for name in sorted(self.narrowed_by - EXTERNAL_FILTERS)]
        if external := self.narrowed_by & EXTERNAL_FILTERS:
            conditions.append(has_external_reference(_PORFS, ReferencedEntity.PORF, external))
        statement = select(_PORFS).where(visible(self.visibility), *conditions)
        if not self.waiting:
            return statement
        return statement.join(Organisation, Organisation.id == ORGANISATION_ID).where(
            Porf.status == PorfStatus.PENDING, approvable(_PORFS, is_approver=self.is_approver)
        )


def _condition(name: str) -> ColumnElement[bool]:
    match attribute_of(name):
        case "category_id":
            return _has_line(compare(PorfLine.__table__.c.category_id, name))
        case "cost_centre_id":
            # Not OR EXISTS, which would be looked for in each row.
            return or_(condition(_PORFS, name), _has_line(compare(PorfLine.__table__.c.cost_centre_id, name)))
        case _:
            return condition(_PORFS, name)


def _has_line(fulfilling: ColumnElement[bool]) -> ColumnElement[bool]:
    """Whether a request has a line that fulfils the condition."""
    found = select(PorfLine.porf_id).where(PorfLine.organisation_id == ORGANISATION_ID, fulfilling)
    return Porf.id == any_(ids_of(found))
