"""Approval policies for the tests."""

from typing import Any

import httpx

from support.organisations import Member, created, ok

Json = dict[str, Any]


def path_of(shown: httpx.Response) -> str:
    """The path of what the response to a creation has shown."""
    return shown.headers["Location"].removeprefix("/api/v1")


async def draft_policy(admin: Member, *rules: Json, **fields: Any) -> httpx.Response:
    """The response to the draft of a policy with these rules."""
    return await created(admin.post("/approval-policies", json={"rules": [*rules], **fields}))


async def publish_policy(admin: Member, *rules: Json, **fields: Any) -> Json:
    """A published policy with these rules."""
    draft = await draft_policy(admin, *rules, **fields)
    published = await ok(admin.post(f"{path_of(draft)}/publish", etag=draft.headers["ETag"]))
    policy: Json = published.json()
    return policy


def rule(stage: int, *approvers: str | Json, **fields: Any) -> Json:
    """The body of a rule; approvers are kinds or objects."""
    named = [{"kind": approver} if isinstance(approver, str) else approver for approver in approvers]
    return {"stage": stage, "name": f"R{stage}", "approvers": named, **fields}


def user(member: Member) -> Json:
    return {"kind": "user", "id": member.user_id}


def group(group_id: int) -> Json:
    return {"kind": "group", "id": group_id}
