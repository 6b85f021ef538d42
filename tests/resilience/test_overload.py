"""Two hundred concurrent clients, far more than connections: they wait, or get 503 with Retry-After."""

import httpx
import pytest
from fastapi import FastAPI

from support.applications import new_app
from support.disconnecting_clients import leave_nothing_behind
from support.organisations import new_organisation

pytestmark = pytest.mark.heavy

POOL = {"db_pool_size": 6, "db_max_overflow": 0, "db_pool_timeout": 1, "rate_limit_per_user": "1000000/minute"}


@pytest.mark.exhaustive
async def test_two_hundred_callers_of_whom_many_leave_break_nothing(
    app: FastAPI, client: httpx.AsyncClient, urls: tuple[str, str]
) -> None:
    casts = [await new_organisation(app, client) for _ in range(4)]
    await leave_nothing_behind(new_app(urls[1], **POOL), casts, urls[1], callers=200)
