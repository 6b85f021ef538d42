"""Lists of the API, read page by page."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from po_api.porfs.domain import ON_STEPS
from support.organisations import Member, ok

_MOST_PAGES = 1000


async def pages(member: Member, path: str, **params: Any) -> AsyncIterator[httpx.Response]:
    """The responses that contain a whole list, in its order."""
    following = dict(params)
    for _ in range(_MOST_PAGES):
        answer = await ok(member.get(path, params=following))
        yield answer
        page = answer.json()
        assert page["has_more"] is (page["next_cursor"] is not None)
        if not page["has_more"]:
            return
        following["cursor"] = page["next_cursor"]
    pytest.fail(f"{path} has more than {_MOST_PAGES} pages")


async def all_items(member: Member, path: str, **params: Any) -> list[dict[str, Any]]:
    """The items of all pages."""
    return [item async for page in pages(member, path, **params) for item in page.json()["items"]]


def as_listed(whole: dict[str, Any]) -> dict[str, Any]:
    """A request or an order as lists show it, with its other fields: `allowed_actions` has names without reasons, and
    none of actions on steps."""
    answers = whole["allowed_actions"].items()
    allowed = [action for action, answer in answers if answer["allowed"] and action not in ON_STEPS]
    return {**whole, "allowed_actions": allowed}
