"""Strategies for the facts of a request and for its actor."""

from decimal import Decimal

from hypothesis import strategies as st

from po_api.approvals.domain import Standing
from po_api.core.actor import Actor
from po_api.core.permissions import Role
from po_api.porfs.domain import PorfFacts, PorfStatus

amounts = st.decimals(min_value=0, max_value=1000, places=2)
currencies = st.sampled_from(["EUR", "JPY", "BGN"])
facts = st.builds(
    PorfFacts,
    status=st.sampled_from(PorfStatus),
    requester_id=st.integers(1, 2),
    author_ids=st.frozensets(st.integers(1, 3)),
    currency=currencies,
    total=amounts,
    over_order_percent=st.just(Decimal(0)),
    maximum_total=amounts,
    base_currency=currencies,
    base_ceiling=st.none() | amounts,
    has_rates=st.booleans(),
    base_rate=st.none() | st.just(Decimal(1)),
    base_rate_date=st.none(),
    base_rate_id=st.none(),
    allow_self_approval=st.booleans(),
    allow_override=st.booleans(),
    line_count=st.integers(0, 1),
    ordered=st.booleans(),
    has_remaining=st.booleans(),
    submitted=st.booleans(),
    has_policy=st.booleans(),
    has_approver=st.booleans(),
    standing=st.sampled_from(Standing),
    supplier_is_active=st.booleans(),
    supplier_hash=st.none(),
    supplier_has_changed=st.booleans(),
)
actors = st.builds(
    Actor,
    organisation_id=st.just(1),
    user_id=st.integers(1, 2),
    roles=st.frozensets(st.sampled_from(Role), min_size=1),
    approval_limit=st.none() | amounts,
)
