"""Revision 053: notifications of delegations, which the version before cannot have."""

from support.clusters import Cluster
from support.migrations import insert_everywhere, marks_of, migrated_database

pytestmark = marks_of("053")

_ABOUT_DELEGATIONS = """
    UPDATE notifications SET porf_id = NULL, approval_delegation_id = (SELECT min(d.id) FROM approval_delegations d
        WHERE d.organisation_id = notifications.organisation_id)
    WHERE organisation_id = (SELECT min(organisation_id) FROM notifications)
"""
_COUNTS = "SELECT (SELECT count(*) FROM notifications) AS notified, (SELECT count(*) FROM notification_mails) AS mails"


async def test_notifications_of_delegations_go_with_their_mails(cluster: Cluster) -> None:
    async with migrated_database(cluster) as database:
        await insert_everywhere(database)
        await database.fetch(_ABOUT_DELEGATIONS)
        for revision in ("052", "053"):
            await database.to(revision)
            (row,) = await database.fetch(_COUNTS)
            assert (row["notified"], row["mails"]) == (1, 1), revision
