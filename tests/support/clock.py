"""The time at which documents are submitted and issued."""

from datetime import datetime

import pytest

_MODULES = (
    "porfs.actions",
    "porfs.approval_timers",
    "porfs.queries",
    "porfs.repository",
    "purchase_orders.queries",
    "purchase_orders.repository",
    "purchase_orders.service",
)


def set_clock(monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    """Let it be `moment` (ISO 8601 in UTC) for requests and orders; credentials keep the real time."""
    now = datetime.fromisoformat(moment)
    for module in _MODULES:
        monkeypatch.setattr(f"po_api.{module}.utc_now", lambda: now)
