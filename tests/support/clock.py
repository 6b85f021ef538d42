"""The time at which documents are submitted, decided and issued."""

from datetime import datetime

import pytest

_MODULES = (
    "approval_delegations.queries",
    "approval_delegations.service",
    "approvals.queries",
    "porfs.actions",
    "porfs.approval_timers",
    "porfs.inbox",
    "porfs.queries",
    "porfs.repository",
    "porfs.simulation",
    "porfs.step_actions",
    "purchase_orders.queries",
    "purchase_orders.repository",
    "purchase_orders.service",
)


def set_clock(monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    """Let it be `moment` (ISO 8601 in UTC) for requests and orders; credentials keep the real time."""
    now = datetime.fromisoformat(moment)
    for module in _MODULES:
        monkeypatch.setattr(f"po_api.{module}.utc_now", lambda: now)
