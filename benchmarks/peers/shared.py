"""Code common to all stacks: the published state machine, cursors, a document's taxes, allowed actions."""

import hashlib
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import Any

from po_api.approvals.domain import Standing
from po_api.core.actor import Actor
from po_api.core.money import round_to_minor
from po_api.core.permissions import Role
from po_api.porfs.domain import MACHINE, ON_STEPS, PorfFacts, PorfStatus
from po_api.web.state_machines import publish

STATE_MACHINE = publish(MACHINE, PorfStatus).model_dump(mode="json")

_SCOPE = hashlib.sha256(repr(("/api/v1/porfs", [])).encode()).hexdigest()
_BINDING = hashlib.sha256(f"-created_at,-id|{_SCOPE}".encode()).hexdigest()[:16]


def encode_cursor(created_at: datetime, porf_id: int) -> str:
    text = json.dumps([_BINDING, created_at.isoformat(), str(porf_id)])
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_cursor(cursor: str) -> tuple[datetime, int]:
    _, created_at, porf_id = json.loads(urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    return datetime.fromisoformat(created_at), int(porf_id)


def plain(number: Decimal) -> str:
    text = format(number, "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def taxes(lines: Iterable[tuple[Decimal, Decimal]], *, currency: str, tax_rounding: str) -> list[dict[str, str]]:
    """By rate, from each line's rate and net."""
    nets: defaultdict[Decimal, Decimal] = defaultdict(Decimal)
    line_taxes: defaultdict[Decimal, Decimal] = defaultdict(Decimal)
    for rate, net in lines:
        nets[rate] += net
        if tax_rounding == "line":
            line_taxes[rate] += round_to_minor(net * rate / 100, currency)
    return [
        {
            "rate": plain(rate),
            "net": format(net, "f"),
            "tax": format(line_taxes.get(rate) or round_to_minor(net * rate / 100, currency), "f"),
        }
        for rate, net in sorted(nets.items())
    ]


def names_of(actions: dict[str, Any]) -> list[str]:
    """The allowed actions as lists show them."""
    return [action for action, answer in actions.items() if answer["allowed"] and action not in ON_STEPS]


# The rules stay in one table, po-api's own. Its answers depend on these facts only and are
# cached here, so that the peers do not pay for evaluating the table.
@cache
def allowed_actions(
    roles: tuple[str, ...],
    *,
    status: str,
    own: bool,
    limited: bool,
    within_limit: bool,
    base_currency: bool,
    self_approval: bool,
    lines: bool,
    ordered: bool,
    has_remaining: bool,
    submitted: bool,
    has_approver: bool,
    supplier_is_active: bool,
) -> dict[str, Any]:
    actor = Actor(1, 1, frozenset(map(Role, roles)), Decimal(0) if limited else None)
    amount = Decimal(0) if within_limit else Decimal(1)
    facts = PorfFacts(
        status=PorfStatus(status),
        requester_id=1 if own else 2,
        author_ids=(1,) if own else (),
        currency="EUR",
        total=amount,
        over_order_percent=Decimal(0),
        maximum_total=amount,
        base_currency="EUR" if base_currency else "USD",
        # The data set has no exchange rates.
        base_ceiling=amount if base_currency else None,
        has_rates=False,
        base_rate=Decimal(1) if base_currency else None,
        base_rate_date=None,
        base_rate_id=None,
        allow_self_approval=self_approval,
        allow_override=False,
        line_count=int(lines),
        ordered=ordered,
        has_remaining=has_remaining,
        submitted=submitted,
        has_policy=False,
        has_approver=has_approver,
        standing=Standing.LIMITED if limited and not (within_limit and base_currency) else Standing.DECIDES,
        supplier_is_active=supplier_is_active,
        supplier_hash=None,
        # The data set has no approved identities of suppliers.
        supplier_has_changed=False,
    )
    return {
        str(action): {"allowed": refused is None, "reason": refused and refused.code}
        for action, refused in MACHINE.allowed_actions(facts, actor).items()
    }
