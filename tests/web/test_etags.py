"""ETags: 304 for unchanged representations, and no lost updates."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from po_api.core.errors import BadRequest
from po_api.web.etags import parse_if_match
from support.organisations import TestOrganisation, act, ok, refused


@pytest.mark.parametrize(
    ("header", "versions"),
    [
        ("*", None),
        (" * ", None),
        ('"3"', {3}),
        ('"3-0af1"', {3}),
        ('"3", "4-aa" ,"5"', {3, 4, 5}),
        # Proxies that compress weaken ETags, or append the coding.
        ('W/"3"', {3}),
        ('W/"3-0af1", "4"', {3, 4}),
        ('"3-0af1-gzip"', {3}),
        ('"3-0af1--gzip", "4-aa;br"', {3, 4}),
        ('W/"3-0af1-zstd"', {3}),
        ('W/"other"', set()),
        ('"3-0af1-other"', set()),
        ('"another server\'s"', set()),
        ('""', set()),
        ('"3-XYZ"', set()),
        ('"9999999999999999999999"', set()),
    ],
)
def test_if_match_names_versions(header: str, versions: set[int] | None) -> None:
    assert parse_if_match(header) == versions


@pytest.mark.parametrize("header", ["", "3", '"3', "'3'", '"3";"4"', '*, "3"', '"3",', "w/3", '"a"b"'])
def test_if_match_without_an_entity_tag_is_refused(header: str) -> None:
    with pytest.raises(BadRequest):
        parse_if_match(header)


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused(header: str) -> None:
    try:
        versions = parse_if_match(header)
    except BadRequest:
        return
    assert versions is None or all(version >= 0 for version in versions)


async def test_what_is_unchanged_is_not_sent_again(organisation: TestOrganisation) -> None:
    draft = await organisation.draft()
    path, etag = f"/porfs/{draft.json()['id']}", draft.headers["ETag"]
    for known in (etag, "*", f"W/{etag}", f'"other", {etag}', f'{etag[:-1]}-gzip"'):
        response = await ok(organisation.requester.get(path, headers={"If-None-Match": known}), 304)
        assert response.content == b""
        assert response.headers["ETag"] == etag
    for other in ('"other"', '"1"', etag.strip('"'), ""):
        await ok(organisation.requester.get(path, headers={"If-None-Match": other}))


async def test_a_change_makes_another_etag_and_the_old_one_stale(organisation: TestOrganisation) -> None:
    draft = await organisation.draft()
    path, old = f"/porfs/{draft.json()['id']}", draft.headers["ETag"]
    changed = await ok(organisation.requester.patch(path, etag=old, json={"title": "Other lamps"}))
    assert changed.headers["ETag"].startswith('"2-')
    await ok(organisation.requester.get(path, headers={"If-None-Match": old}))
    await refused(organisation.requester.patch(path, etag=old, json={"title": "x"}), 412, "stale_version")
    await refused(organisation.requester.patch(path, json={"title": "x"}), 428, "if_match_required")
    await refused(organisation.requester.patch(path, etag="2", json={"title": "x"}), 400, "invalid_if_match")
    await ok(organisation.requester.patch(path, etag=f"{old}, {changed.headers['ETag']}", json={"title": "Third"}))
    await ok(organisation.requester.patch(path, etag="*", json={"title": "Fourth"}))


@pytest.mark.parametrize("changed", ["W/{}", '{}-gzip"', 'W/{}-br"'])
async def test_an_etag_that_a_proxy_has_changed_names_its_version(organisation: TestOrganisation, changed: str) -> None:
    draft = await organisation.draft()
    path, etag = f"/porfs/{draft.json()['id']}", draft.headers["ETag"]
    received = changed.format(etag.removesuffix('"') if changed.endswith('"') else etag)
    await ok(organisation.requester.patch(path, etag=received, json={"title": "Other lamps"}))
    stale = await refused(organisation.requester.patch(path, etag=received, json={"title": "x"}), 412, "stale_version")
    assert stale["detail"] == "the current version is 2"


async def test_an_etag_of_something_else_is_not_called_outdated(organisation: TestOrganisation) -> None:
    draft = await organisation.draft()
    path = f"/porfs/{draft.json()['id']}"
    other = await refused(organisation.requester.patch(path, etag='"of another"', json={}), 412, "stale_version")
    assert other["detail"] == "If-Match has no ETag of this API; the current version is 1"


async def test_a_patch_that_changes_nothing_keeps_the_etag(organisation: TestOrganisation) -> None:
    draft = await organisation.draft()
    path, etag = f"/porfs/{draft.json()['id']}", draft.headers["ETag"]
    assert (await ok(organisation.requester.patch(path, etag=etag, json={"title": "Lamps"}))).headers["ETag"] == etag


async def test_the_etag_differs_with_what_the_reader_may_do(organisation: TestOrganisation) -> None:
    pending = await organisation.pending()
    path = f"/porfs/{pending.json()['id']}"
    tags = [
        (await ok(member.get(path))).headers["ETag"]
        for member in (organisation.requester, organisation.approver, organisation.auditor)
    ]
    assert {tag.split("-")[0] for tag in tags} == {'"2'}
    assert len(set(tags)) == 3


async def test_the_etag_changes_when_the_allowed_actions_do(organisation: TestOrganisation) -> None:
    pending = await organisation.pending()
    path, member = f"/porfs/{pending.json()['id']}", f"/users/{organisation.approver.user_id}"
    before = await ok(organisation.approver.get(path))
    etag = (await ok(organisation.admin.get(member))).headers["ETag"]
    await ok(organisation.admin.patch(member, etag=etag, json={"approval_limit": "1"}))
    after = await ok(organisation.approver.get(path, headers={"If-None-Match": before.headers["ETag"]}))
    assert after.json()["version"] == before.json()["version"]
    assert before.json()["allowed_actions"]["approve"] == {"allowed": True, "reason": None}
    assert after.json()["allowed_actions"]["approve"] == {"allowed": False, "reason": "over_approval_limit"}


async def test_the_etag_of_the_answer_to_a_change_is_that_of_the_next_read(organisation: TestOrganisation) -> None:
    pending = await act(organisation.requester, await organisation.draft(), "submit")
    read = await ok(organisation.requester.get(f"/porfs/{pending.json()['id']}"))
    assert read.headers["ETag"] == pending.headers["ETag"]
    assert read.json() == pending.json()


async def test_a_line_has_the_etag_version_of_its_request(organisation: TestOrganisation) -> None:
    draft = await organisation.draft()
    path = f"/porfs/{draft.json()['id']}"
    line = f"{path}/lines/{draft.json()['lines'][0]['id']}"
    etag = (await ok(organisation.requester.get(line))).headers["ETag"]
    await ok(organisation.requester.patch(line, etag=etag, json={"quantity": "11"}))
    await refused(organisation.requester.patch(path, etag=etag, json={"title": "x"}), 412, "stale_version")


async def test_lists_and_problems_have_no_etag(organisation: TestOrganisation) -> None:
    assert "ETag" not in (await organisation.requester.get("/porfs")).headers
    assert "ETag" not in (await organisation.requester.get("/porfs/9999999999")).headers


async def test_a_document_is_not_sent_twice(organisation: TestOrganisation) -> None:
    order = await organisation.issued()
    path = f"/purchase-orders/{order.json()['id']}/document.pdf"
    first = await ok(organisation.buyer.get(path))
    again = await ok(organisation.buyer.get(path, headers={"If-None-Match": first.headers["ETag"]}), 304)
    assert again.content == b""
