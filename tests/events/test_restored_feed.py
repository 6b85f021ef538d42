"""After a restore the feed is another one, whose numbers are not taken for those that were given before."""

import httpx

from po_api.operations.backups.state import settle
from support.applications import client_of, new_app
from support.clusters import Cluster
from support.feeds import followed, relayed
from support.migrations import migrated_database
from support.organisations import Member, TestOrganisation, created, new_organisation, refused, with_new_session

# What a restore undoes in the database of one organisation: all events after a number.
_UNDO = (
    "DELETE FROM event_log WHERE number > {number}",
    "DELETE FROM audit_events e WHERE NOT EXISTS (SELECT FROM event_log l WHERE l.event_id = e.id)",
    "UPDATE event_feeds SET last_number = {number}, last_seal = (SELECT seal FROM event_log WHERE number = {number})",
)


async def _changed(organisation: TestOrganisation, *names: str) -> None:
    for name in names:
        await created(organisation.buyer.post("/suppliers", json={"name": name}))
    await relayed(organisation.database, organisation.organisation_id)


async def _moved(reader: Member, position: str) -> str:
    problem = await refused(reader.get("/events", params={"after": position}), 410, "feed_changed")
    assert [(error["location"], error["pointer"]) for error in problem["errors"]] == [("query", "/after")]
    found: str = problem["next"]
    assert found in problem["detail"]
    return found


def _at(position: str, number: int) -> str:
    return f"{position.partition(':')[0]}:{number}"


async def test_a_reader_continues_where_both_feeds_are_the_same(cluster: Cluster) -> None:
    async with migrated_database(cluster) as database:
        app = new_app(database.app)
        async with client_of(app) as client:
            organisation = await new_organisation(app, client)
            await _changed(organisation, "A", "B")
            seen, restored_at = await followed(organisation.auditor)
            assert restored_at is not None
            kept = len(seen)
            await _changed(organisation, "C", "D")
            _, ahead = await followed(organisation.auditor)
            assert ahead == _at(restored_at, kept + 2)

            # The database is that of the time of the first reader.
            for statement in _UNDO:
                await database.fetch(statement.format(number=kept))
            assert await settle(database.owner, "a test")
            refused_token = await organisation.auditor.get("/events")
            assert refused_token.status_code == httpx.codes.UNAUTHORIZED
            auditor = await with_new_session(app, organisation.auditor)
            buyer = await with_new_session(app, organisation.buyer)

            continued = await _moved(auditor, ahead)
            assert continued == _at(continued, kept) != _at(ahead, kept)
            # Who had not come so far misses nothing, either.
            assert await _moved(auditor, _at(restored_at, 2)) == _at(continued, 2)
            assert await followed(auditor, continued) == ([], continued)

            # The numbers that were undone are given again, to other events.
            await created(buyer.post("/suppliers", json={"name": "E"}))
            await relayed(organisation.database, organisation.organisation_id)
            (item,), position = await followed(auditor, continued)
            assert item["number"] == kept + 1
            assert position == _at(continued, kept + 1)
            assert await _moved(auditor, ahead) == _at(continued, kept)
            assert [event["id"] for event in (await followed(auditor))[0]] == [
                *(event["id"] for event in seen),
                item["id"],
            ]

            # A second restore, to the present state.
            assert await settle(database.owner, "another test")
            auditor = await with_new_session(app, organisation.auditor)
            again = await _moved(auditor, position)
            assert again == _at(again, kept + 1) != position
            assert await _moved(auditor, ahead) == _at(again, kept)
        await app.state.database.dispose()
