"""An approval policy of three stages, and requests that wait for each of them or have passed them."""

import json
from collections.abc import Iterator, Sequence
from itertools import islice

from benchmarks.load import follow, require
from benchmarks.processes import App
from benchmarks.scenarios import LIST, get, main_job, patch, post
from benchmarks.users import MainJobUsers, Reader

# More than a page of the list has.
_PORFS = 60
_PORFS_EACH = 12
# Requests of the main job: a draft is created, submitted, and approved by none to three of the approvers.
_JOB_STEPS = (2, 3, 4, 5)


def publish_policies(app: App, organisations: Sequence[MainJobUsers]) -> Sequence[Reader]:
    """Publish a policy in each organisation, and make requests in the first one; returns its readers."""
    for users in organisations:
        _publish(app, users)
    read = organisations[0]
    for number in range(_PORFS):
        _run(app, read, steps=_JOB_STEPS[number % len(_JOB_STEPS)])
    return list(_readers(app, read))


def _publish(app: App, users: MainJobUsers) -> None:
    """The manager of the requester approves, then any approver, then a named one. Each of them decides anew."""
    requester, manager, any_approver, named = (_user_id(app, who) for who in (users.requester, *users.approvers))
    for user_id, values in (
        (manager, {"roles": ["buyer", "approver"]}),
        (any_approver, {"roles": ["requester", "approver"]}),
        (requester, {"manager_id": manager}),
    ):
        require(app, patch(f"/users/{user_id}", users.admin, "member", body=values))
    rules = [
        _rule(1, {"kind": "requester_manager"}),
        _rule(2, {"kind": "role_approver"}),
        _rule(3, {"kind": "user", "id": named}),
    ]
    draft = require(
        app, post("/approval-policies", users.admin, "policy", status=201, body={"rules": rules, "carry": "never"})
    )
    require(app, post(f"/approval-policies/{draft.id}/publish", users.admin, "publish", etag=draft.etag))


def _rule(stage: int, approver: dict[str, object]) -> dict[str, object]:
    return {"stage": stage, "name": f"Stage {stage}", "approvers": [approver], "required_count": 1}


def _run(app: App, users: MainJobUsers, *, steps: int) -> None:
    """The first requests of the main job."""
    for _ in islice(follow(app, main_job(users)), steps):
        pass


def _readers(app: App, users: MainJobUsers) -> Iterator[Reader]:
    """Members who see all requests that were made."""
    for token in (users.requester, users.auditor, *users.approvers):
        porfs = json.loads(require(app, get(LIST, token, "list")).body)["items"]
        me = json.loads(require(app, get("/users/me", token, "user")).body)
        yield Reader(token, me["roles"][0], me["organisation_id"], [porf["id"] for porf in porfs[:_PORFS_EACH]])


def _user_id(app: App, token: str) -> int:
    return require(app, get("/users/me", token, "user")).id
