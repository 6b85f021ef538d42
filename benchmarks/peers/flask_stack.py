"""Flask and Flask-SQLAlchemy, with entities and relationships as in the tutorials.

    gunicorn --worker-class gthread benchmarks.peers.flask_stack:app

with DATABASE_URL and SECRET_KEY in the environment. It avoids the known mistakes of tutorials: there is no
query per row, and line counts are computed by the database.
"""

# The type checker's environment has no Flask.
# mypy: disable-error-code="name-defined, misc, untyped-decorator, no-any-return"

import os
from datetime import date, datetime
from decimal import Decimal
from typing import Any, NamedTuple

from flask import Flask, Response, abort, jsonify, request
from flask_sqlalchemy import SQLAlchemy
from jose import JWTError, jwt
from sqlalchemy import Boolean, Numeric, Text, and_, case, column, false, func, or_, select, true, tuple_
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import aliased, column_property, contains_eager, joinedload, selectinload

from benchmarks.peers import shared
from po_api.tables import metadata

app = Flask(__name__)
app.config["SECRET_KEY"] = os.environ["SECRET_KEY"]
app.config["SQLALCHEMY_DATABASE_URI"] = os.environ["DATABASE_URL"].replace("postgresql:", "postgresql+psycopg:")
app.config["SQLALCHEMY_ENGINE_OPTIONS"] = {"pool_size": 10, "max_overflow": 10}
app.json.sort_keys = False
db = SQLAlchemy(app)
tables = metadata.tables

SEES_ALL = {"buyer", "admin", "auditor"}
SEES_RIGHTS = {"admin", "auditor"}


class Organisation(db.Model):
    __table__ = tables["organisations"]


class User(db.Model):
    __table__ = tables["users"]


class Member(db.Model):
    __table__ = tables["members"]


class UserSession(db.Model):
    __table__ = tables["sessions"]
    user = db.relationship(User)


class Supplier(db.Model):
    __table__ = tables["suppliers"]


class PorfLine(db.Model):
    __table__ = tables["porf_lines"]

    @property
    def remaining_quantity(self) -> Decimal:
        return max(self.quantity - self.ordered_quantity - self.closed_quantity, Decimal(0))


class ApprovalDecision(db.Model):
    __table__ = tables["approval_decisions"]
    approver = db.relationship(
        Member, viewonly=True, foreign_keys=[__table__.c.organisation_id, __table__.c.approver_id]
    )


class Porf(db.Model):
    __table__ = tables["porfs"]
    organisation = db.relationship(Organisation, viewonly=True)
    requester = db.relationship(Member, viewonly=True)
    supplier = db.relationship(Supplier, viewonly=True)
    lines = db.relationship(PorfLine, viewonly=True, order_by=PorfLine.__table__.c.position)


approver = aliased(Member)
own_lines = and_(PorfLine.organisation_id == Porf.organisation_id, PorfLine.porf_id == Porf.id)
left = PorfLine.quantity - PorfLine.ordered_quantity - PorfLine.closed_quantity


def any_line(condition: Any) -> Any:
    """Not EXISTS: PostgreSQL would read all lines of the organisation for it, regardless of LIMIT."""
    found = func.coalesce(func.bool_or(condition), false())
    return select(found).where(own_lines).correlate_except(PorfLine).scalar_subquery()


Porf.line_count = column_property(select(func.count()).where(own_lines).correlate_except(PorfLine).scalar_subquery())
Porf.ordered = column_property(any_line(PorfLine.ordered_quantity > 0))
Porf.has_remaining = column_property(any_line(left > 0))
Porf.has_approver = column_property(
    case(
        (
            Porf.status == "draft",
            select(1)
            .select_from(approver)
            .join(Organisation, Organisation.id == approver.organisation_id)
            .where(
                approver.organisation_id == Porf.organisation_id,
                approver.is_active,
                approver.roles.contains(["approver"]),
                or_(approver.user_id != Porf.requester_id, Organisation.allow_self_approval),
                or_(
                    approver.approval_limit.is_(None),
                    and_(approver.approval_limit >= Porf.total, Porf.currency == Organisation.currency),
                ),
            )
            .correlate(Porf.__table__)
            .exists(),
        ),
        else_=false(),
    )
)


class Caller(NamedTuple):
    """The user of a request, and their rights."""

    id: int
    organisation_id: int
    roles: list[str]
    approval_limit: Decimal | None


# Members are hidden until the tenant is entered.
rights = func.member_of(User.organisation_id, User.id).table_valued(
    column("roles", ARRAY(Text)), column("approval_limit", Numeric), column("is_active", Boolean), name="rights"
)


def check() -> Caller:
    """The user of the token."""
    try:
        token = request.headers["Authorization"].removeprefix("Bearer ")
        key = app.config["SECRET_KEY"]
        claims = jwt.decode(token, key, algorithms=["HS256"], audience="po-api", issuer="po-api")
    except (KeyError, JWTError):
        abort(401)
    last_used = func.coalesce(UserSession.last_seen_at, UserSession.created_at)
    found = db.session.execute(
        select(UserSession, rights.c.roles, rights.c.approval_limit)
        .join(UserSession.user)
        .join(rights, true())
        .options(contains_eager(UserSession.user))
        .where(
            UserSession.id == int(claims["sid"]),
            UserSession.user_id == int(claims["sub"]),
            UserSession.revoked_at.is_(None),
            UserSession.expires_at > func.now(),
            last_used > func.now() - func.make_interval(0, 0, 0, 7),
            User.is_active,
            User.credentials_version == UserSession.credentials_version,
            rights.c.is_active,
        )
    ).one_or_none()
    if found is None:
        abort(401)
    session, roles, approval_limit = found
    return Caller(session.user.id, session.user.organisation_id, roles, approval_limit)


def enter_organisation(user: Caller) -> None:
    db.session.execute(select(func.set_config("app.organisation_id", str(user.organisation_id), True)))


def visible(user: Caller) -> Any:
    statement = select(Porf).where(Porf.organisation_id == user.organisation_id)
    if SEES_ALL.isdisjoint(user.roles):
        mine = Porf.requester_id == user.id
        statement = statement.where(or_(mine, Porf.submitted_at.is_not(None)) if "approver" in user.roles else mine)
    return statement.options(joinedload(Porf.requester), joinedload(Porf.supplier), joinedload(Porf.organisation))


def text(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return value.isoformat() if isinstance(value, date) else value


def summary(porf: Porf, user: Caller) -> dict[str, Any]:
    return {
        "id": porf.id,
        "number": porf.number,
        "title": porf.title,
        "status": porf.status,
        "requester_id": porf.requester_id,
        "requester_name": porf.requester.name,
        "supplier_id": porf.supplier_id,
        "supplier_name": porf.supplier.name if porf.supplier else None,
        "cost_centre": porf.cost_centre,
        "needed_by": text(porf.needed_by),
        "currency": porf.currency,
        "total": format(porf.total, "f"),
        "version": porf.version,
        "submitted_at": text(porf.submitted_at),
        "decided_at": text(porf.decided_at),
        "created_at": text(porf.created_at),
        "updated_at": text(porf.updated_at),
        "allowed_actions": shared.allowed_actions(
            tuple(user.roles),
            status=porf.status,
            own=porf.requester_id == user.id,
            limited=user.approval_limit is not None,
            within_limit=user.approval_limit is None or porf.total <= user.approval_limit,
            base_currency=porf.currency == porf.organisation.currency,
            self_approval=porf.organisation.allow_self_approval,
            lines=porf.line_count > 0,
            ordered=porf.ordered,
            has_remaining=porf.has_remaining,
            submitted=porf.submitted_at is not None,
            has_approver=porf.has_approver,
            supplier_is_active=porf.supplier is None or porf.supplier.is_active,
        ),
    }


def listed(porf: Porf, user: Caller) -> dict[str, Any]:
    item = summary(porf, user)
    return {**item, "allowed_actions": shared.names_of(item["allowed_actions"])}


def whole_line(line: PorfLine) -> dict[str, Any]:
    return {
        "id": line.id,
        "position": line.position,
        "description": line.description,
        "sku": line.sku,
        "quantity": shared.plain(line.quantity),
        "unit": line.unit,
        "unit_price": shared.plain(line.unit_price),
        "discount_percent": shared.plain(line.discount_percent),
        "tax_rate": shared.plain(line.tax_rate),
        "needed_by": text(line.needed_by),
        # The data set has no cost centres and categories, nor exchange rates.
        "category_id": None,
        "cost_centre_id": None,
        "net": format(line.net, "f"),
        "ordered_quantity": shared.plain(line.ordered_quantity),
        "closed_quantity": shared.plain(line.closed_quantity),
        "remaining_quantity": shared.plain(line.remaining_quantity),
        "base_net": None,
    }


def whole_decision(decision: ApprovalDecision, user: Caller) -> dict[str, Any]:
    sees_limit = not SEES_RIGHTS.isdisjoint(user.roles) or decision.approver_id == user.id
    amount = None if decision.approver_limit is None else format(decision.approver_limit, "f")
    limit = {"amount": amount, "currency": decision.limit_currency}
    return {
        "decision": decision.decision,
        "approver_id": decision.approver_id,
        "approver_name": decision.approver.name,
        "on_behalf_of_id": decision.on_behalf_of_id,
        # The requests of the measurements have no delegates.
        "on_behalf_of_name": None,
        "approver_limit": limit if sees_limit and decision.limit_currency else None,
        "comment": decision.comment,
        "decided_at": text(decision.decided_at),
    }


def decisions_on(porf: Porf, user: Caller) -> list[dict[str, Any]]:
    of_round = (
        ApprovalDecision.organisation_id == porf.organisation_id,
        ApprovalDecision.porf_id == porf.id,
        ApprovalDecision.round == porf.approval_round,
    )
    statement = select(ApprovalDecision).where(*of_round).options(joinedload(ApprovalDecision.approver))
    found = db.session.scalars(statement.order_by(ApprovalDecision.id.desc()).limit(20))
    return [whole_decision(decision, user) for decision in found]


def approvers_of(porf: Porf, user: Caller) -> dict[str, Any] | None:
    if porf.status != "pending":
        return None
    statement = select(Member).where(
        Member.organisation_id == porf.organisation_id,
        Member.is_active,
        Member.roles.contains(["approver"]),
        true() if porf.organisation.allow_self_approval else Member.user_id != porf.requester_id,
        or_(
            Member.approval_limit.is_(None),
            Member.approval_limit >= porf.total if porf.currency == porf.organisation.currency else false(),
        ),
    )
    found = db.session.scalars(statement.order_by(Member.name, Member.user_id)).all()
    named = [{"id": member.user_id, "name": member.name} for member in found[:20]]
    return {"count": len(found), "members": None if SEES_RIGHTS.isdisjoint(user.roles) else named}


@app.get("/api/v1/state-machines/porf")
def get_state_machine() -> Response:
    check()
    return jsonify(shared.STATE_MACHINE)


@app.get("/api/v1/porfs")
def list_porfs() -> Response:
    user = check()
    enter_organisation(user)
    limit = request.args.get("limit", 50, int)
    statement = visible(user)
    if "cursor" in request.args:
        statement = statement.where(tuple_(Porf.created_at, Porf.id) < shared.decode_cursor(request.args["cursor"]))
    statement = statement.order_by(Porf.created_at.desc(), Porf.id.desc()).limit(limit + 1)
    porfs = db.session.scalars(statement).all()
    has_more = len(porfs) > limit
    last = porfs[limit - 1] if has_more else None
    return jsonify(
        items=[listed(porf, user) for porf in porfs[:limit]],
        next_cursor=last and shared.encode_cursor(last.created_at, last.id),
        has_more=has_more,
    )


@app.get("/api/v1/porfs/<int:porf_id>")
def get_porf(porf_id: int) -> Response:
    user = check()
    enter_organisation(user)
    porf = db.session.scalar(visible(user).where(Porf.id == porf_id).options(selectinload(Porf.lines)))
    if porf is None:
        abort(404)
    rates = [(line.tax_rate, line.net) for line in porf.lines]
    return jsonify(
        **summary(porf, user),
        line_count=porf.line_count,
        justification=porf.justification,
        cost_centre_id=None,
        delivery_address_id=porf.delivery_address_id,
        delivery_address=porf.delivery_address,
        net=format(porf.net, "f"),
        tax=format(porf.tax, "f"),
        approval_round=porf.approval_round,
        tax_rounding=porf.tax_rounding,
        # The organisations of the data set permit no more than what was requested.
        over_order_percent="0",
        maximum_total=format(porf.total, "f"),
        base_currency=porf.base_currency,
        base_rate=porf.base_rate,
        base_rate_date=porf.base_rate_date,
        base_net=porf.base_net,
        base_total=porf.base_total,
        base_ceiling=porf.base_ceiling,
        decisions=decisions_on(porf, user),
        approvers=approvers_of(porf, user),
        taxes=shared.taxes(rates, currency=porf.currency, tax_rounding=porf.tax_rounding),
        lines=[whole_line(line) for line in porf.lines],
    )
