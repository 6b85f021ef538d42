"""Large JSON bodies are parsed and validated outside of the event loop, with the same results as small ones."""

import json
from typing import Any

import pytest

from po_api.web.bodies import MAX_ON_THE_LOOP
from support.organisations import LINE, Member, TestOrganisation

MANY = 600


def _body(**changes: Any) -> dict[str, Any]:
    body = {"title": "Large", "lines": [{**LINE, "description": f"Article {n}"} for n in range(MANY)]} | changes
    assert len(json.dumps(body)) > MAX_ON_THE_LOOP
    return body


async def test_all_lines_are_created(organisation: TestOrganisation) -> None:
    made = (await organisation.requester.post("/porfs", json=_body())).json()
    assert [line["description"] for line in made["lines"]] == [f"Article {n}" for n in range(MANY)]
    one = (await organisation.requester.post("/porfs", json={"title": "Small", "lines": [LINE] * 2})).json()
    assert float(made["total"]) == pytest.approx(float(one["total"]) / 2 * MANY)


async def test_the_errors_are_those_of_a_small_body(organisation: TestOrganisation) -> None:
    wrong = {**LINE, "quantity": "-1", "unit_prise": "1"}
    small = await organisation.requester.post("/porfs", json={"title": "", "lines": [LINE, wrong]})
    large = await organisation.requester.post("/porfs", json=_body(title="", lines=[LINE, wrong, *[LINE] * MANY]))
    assert (small.status_code, large.status_code) == (422, 422)
    assert large.json()["errors"] == small.json()["errors"]
    assert len(small.json()["errors"]) == 3


async def test_a_thousand_errors_are_listed(organisation: TestOrganisation) -> None:
    answer = await organisation.requester.post("/porfs", json=_body(lines=[{**LINE, "quantity": "x"}] * 1200))
    *listed, last = answer.json()["errors"]
    assert len(listed) == 1000
    assert (last["code"], last["detail"]) == ("more_errors", "Errors not listed: 200")


@pytest.mark.parametrize("text", ["[]", "1", "null", '{"title": 1', '{"title": "a", "title": "b"}'])
async def test_what_is_no_object_is_refused(organisation: TestOrganisation, text: str) -> None:
    headers = {"Content-Type": "application/json"}
    small = await organisation.requester.post("/porfs", content=text, headers=headers)
    large = await organisation.requester.post("/porfs", content=text + " " * MAX_ON_THE_LOOP, headers=headers)
    assert (large.status_code, large.json()["errors"]) == (small.status_code, small.json()["errors"])


async def test_the_version_is_required_first(organisation: TestOrganisation) -> None:
    requester: Member = organisation.requester
    made = await requester.post("/porfs", json={"title": "Small", "lines": [LINE]})
    path, body = f"/porfs/{made.json()['id']}", {"justification": "x" * (MAX_ON_THE_LOOP + 1)}
    assert (await requester.patch(path, json=body)).json()["code"] == "if_match_required"
    refused = await requester.patch(path, json=body, etag=made.headers["etag"])
    assert refused.status_code == 422, refused.text
    assert [item["pointer"] for item in refused.json()["errors"]] == ["/justification"]
