"""Accounts become members, with data: while both versions run, and back again."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from support.clusters import Cluster
from support.migrations import HEAD, Fresh, marks_of, migrated_database

BEFORE, COPIED, SEPARATE = "016", "020", "021"
pytestmark = marks_of(SEPARATE)

_PEOPLE = """
    INSERT INTO organisations (name) VALUES ('First'), ('Second');
    INSERT INTO users (organisation_id, email, name, roles, approval_limit, is_active, version) VALUES
        (1, 'ada@first.example', 'Ada', '{admin}', NULL, true, 3),
        (1, 'amir@first.example', 'Amir', '{approver,buyer}', 500.00, true, 1),
        (1, 'gone@first.example', 'Gone', '{requester}', 10, false, 2),
        (2, 'bo@second.example', 'Bo', '{admin}', NULL, true, 1),
        (NULL, 'nowhere@example.com', 'Nowhere', '{requester}', NULL, true, 1);
    INSERT INTO porfs (organisation_id, number, title, requester_id) VALUES (1, 'PORF-1', 'Lamps', 3);
    INSERT INTO sessions (user_id, token, expires_at) SELECT id, lpad(id::text, 64, '0'), 'infinity' FROM users;
    INSERT INTO api_keys (user_id, name, token, scopes, expires_at)
        SELECT id, 'Script', lpad(id::text, 64, '0'), '{porfs:read}', 'infinity' FROM users;
    INSERT INTO idempotency_records (user_id, route, key, request_hash, status, headers, body, created_at)
        SELECT id, route, 'key', repeat('a', 64), 201, '{}', '', now()
        FROM users, unnest(ARRAY['POST /porfs', 'POST /organisations']) AS route;
"""
_RIGHTS = "organisation_id, email, name, roles, approval_limit, is_active, version"


@pytest.fixture
async def populated(cluster: Cluster) -> AsyncIterator[Fresh]:
    """The people of two organisations at the revision before members."""
    async with migrated_database(cluster, BEFORE) as database:
        await database.connection.execute(_PEOPLE)
        yield database


async def _rights(database: Fresh, table: str, user: str) -> list[asyncpg.Record]:
    return await database.fetch(
        f"SELECT {user} AS id, {_RIGHTS} FROM {table} WHERE organisation_id IS NOT NULL ORDER BY 1"
    )


async def test_members_are_copies_as_long_as_the_version_before_writes(populated: Fresh) -> None:
    await populated.to(COPIED)
    assert await _rights(populated, "members", "user_id") == await _rights(populated, "users", "id")
    await populated.fetch("UPDATE users SET roles = '{buyer}', approval_limit = 7, version = 9 WHERE id = 2")
    await populated.fetch("UPDATE users SET is_active = false WHERE id = 4")
    await populated.fetch("UPDATE users SET organisation_id = 2 WHERE id = 5")
    await populated.fetch("INSERT INTO users (organisation_id, email) VALUES (2, 'new@second.example')")
    assert await _rights(populated, "members", "user_id") == await _rights(populated, "users", "id")


async def test_a_sign_in_of_the_version_before_does_not_lock_the_member(populated: Fresh) -> None:
    await populated.to(COPIED)
    async with populated.connection.transaction():
        await populated.fetch("SELECT FROM members WHERE user_id = 2 FOR SHARE")
        other = await asyncpg.connect(populated.owner.replace("+asyncpg", ""))
        await other.execute("SET lock_timeout = '1s'")
        await other.execute("UPDATE users SET last_login = now() WHERE id = 2")
        with pytest.raises(asyncpg.LockNotAvailableError):
            await other.execute("UPDATE users SET roles = '{buyer}' WHERE id = 2")
        await other.close()


async def test_documents_refer_to_members(populated: Fresh) -> None:
    await populated.to(COPIED)
    with pytest.raises(asyncpg.ForeignKeyViolationError, match="fk_porfs_organisation_id_requester_id"):
        await populated.fetch("DELETE FROM members WHERE user_id = 3")


async def test_a_deactivated_member_has_an_account_that_is_in_no_organisation(populated: Fresh) -> None:
    await populated.to(SEPARATE)
    accounts = await populated.fetch("SELECT id, organisation_id, is_active, credentials_version FROM users ORDER BY 1")
    assert [tuple(row) for row in accounts] == [
        (1, 1, True, 0),
        (2, 1, True, 0),
        (3, None, True, 1),
        (4, 2, True, 0),
        (5, None, True, 0),
    ]
    members = await populated.fetch("SELECT user_id, roles, is_active, left_at FROM members ORDER BY 1")
    assert [tuple(row) for row in members] == [
        (1, ["admin"], True, None),
        (2, ["approver", "buyer"], True, None),
        (3, ["requester"], False, None),
        (4, ["admin"], True, None),
    ]


async def test_keys_and_stored_responses_belong_to_the_organisation_of_their_user(populated: Fresh) -> None:
    await populated.to(SEPARATE)
    keys = await populated.fetch("SELECT user_id, organisation_id FROM api_keys ORDER BY 1")
    assert [tuple(row) for row in keys] == [(1, 1), (2, 1), (3, 1), (4, 2), (5, None)]
    stored = await populated.fetch("SELECT route, user_id, organisation_id FROM idempotency_records ORDER BY 1, 2")
    # Founding an organisation is repeated by a member of it, and is found as a request of the user.
    assert [tuple(row) for row in stored] == [
        *(("POST /organisations", user, 0) for user in range(1, 6)),
        *(("POST /porfs", user, organisation) for user, organisation in ((1, 1), (2, 1), (3, 1), (4, 2), (5, 0))),
    ]


async def test_rows_of_the_version_before_get_the_organisation_that_it_has_entered(populated: Fresh) -> None:
    await populated.to(COPIED)
    async with populated.connection.transaction():
        await populated.fetch("SELECT set_config('app.organisation_id', '2', true)")
        await populated.fetch(
            "INSERT INTO idempotency_records (user_id, route, key, request_hash, status, headers, body, created_at)"
            " VALUES (4, 'POST /porfs', 'later', repeat('a', 64), 201, '{}', '', now())"
        )
        await populated.fetch(
            "INSERT INTO api_keys (user_id, name, token, scopes, expires_at)"
            " VALUES (4, 'Later', repeat('f', 64), '{porfs:read}', 'infinity')"
        )
    (record,) = await populated.fetch("SELECT organisation_id FROM idempotency_records WHERE key = 'later'")
    (key,) = await populated.fetch("SELECT organisation_id FROM api_keys WHERE name = 'Later'")
    assert (record["organisation_id"], key["organisation_id"]) == (2, 2)


async def test_everything_is_as_before_after_going_down(populated: Fresh) -> None:
    people = "SELECT * FROM users ORDER BY id"
    before = [dict(row) for row in await populated.fetch(people)]
    schema = await populated.schema()
    await populated.to(HEAD)
    await populated.to(BEFORE)
    after = [dict(row) for row in await populated.fetch(people)]
    assert [{**row, "updated_at": None} for row in after] == [{**row, "updated_at": None} for row in before]
    assert await populated.schema() == schema


async def test_what_has_ended_stays_ended_after_going_down(populated: Fresh) -> None:
    """Sessions, keys and sign-in codes of before a deactivation, and stored responses of another organisation."""
    await populated.to(SEPARATE)
    await populated.fetch("UPDATE users SET credentials_version = credentials_version + 1 WHERE id = 1")
    await populated.fetch(
        "INSERT INTO sign_in_codes (code, user_id, code_challenge, expires_at) VALUES ('c', 1, 'c', 'infinity')"
    )
    await populated.fetch("UPDATE api_keys SET organisation_id = 2 WHERE user_id = 2")
    # The same key in two organisations, the first of which is the user's.
    await populated.fetch(
        "INSERT INTO idempotency_records (organisation_id, user_id, route, key, request_hash, status, headers, body,"
        " created_at) SELECT 2, user_id, route, key, request_hash, 299, headers, body, created_at"
        " FROM idempotency_records WHERE user_id = 2 AND organisation_id = 1"
    )
    await populated.to(BEFORE)
    ended = "SELECT user_id FROM {} WHERE revoked_at IS NOT NULL ORDER BY 1"
    assert [row["user_id"] for row in await populated.fetch(ended.format("sessions"))] == [1, 3]
    assert [row["user_id"] for row in await populated.fetch(ended.format("api_keys"))] == [1, 2, 3]
    assert await populated.fetch("SELECT FROM sign_in_codes") == []
    stored = await populated.fetch("SELECT status FROM idempotency_records WHERE user_id = 2 AND route = 'POST /porfs'")
    assert [row["status"] for row in stored] == [201]


async def test_a_deactivated_account_is_an_inactive_member_of_the_version_before(populated: Fresh) -> None:
    await populated.to(SEPARATE)
    await populated.fetch("UPDATE users SET is_active = false WHERE id = 2")
    await populated.to(COPIED)
    assert await _rights(populated, "members", "user_id") == await _rights(populated, "users", "id")
    await populated.to(SEPARATE)
    (user,) = await populated.fetch("SELECT organisation_id FROM users WHERE id = 2")
    (member,) = await populated.fetch("SELECT is_active FROM members WHERE user_id = 2")
    assert (user["organisation_id"], member["is_active"]) == (None, False)


async def test_changes_of_members_go_down_with_them(populated: Fresh) -> None:
    await populated.to(SEPARATE)
    await populated.fetch("UPDATE members SET roles = '{buyer}', approval_limit = 7, version = 9 WHERE user_id = 2")
    await populated.fetch("UPDATE members SET is_active = false WHERE user_id = 4")
    await populated.fetch("UPDATE users SET organisation_id = NULL, former_organisation_id = 2 WHERE id = 4")
    await populated.to(BEFORE)
    rights = await populated.fetch(
        "SELECT organisation_id, roles, approval_limit, is_active, version FROM users WHERE id IN (2, 4) ORDER BY id"
    )
    assert [tuple(row) for row in rights] == [(1, ["buyer"], 7, True, 9), (2, ["admin"], None, False, 1)]
