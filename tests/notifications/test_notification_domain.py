"""The rules of notifications as pure functions: who is told, when mails are due, and what they say."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from po_api.core.parties import Language
from po_api.notifications.domain import (
    DEFAULTS,
    MAX_LISTED,
    MAX_RECIPIENTS,
    Cause,
    EmailChoice,
    NewNotification,
    NotificationKind,
    NotifiedEntity,
    by_reason,
    next_digest,
    planned_mails,
)
from po_api.notifications.texts import TEXTS, Item, digest_of, letter_about

K = NotificationKind
NOW = datetime(2026, 5, 3, 6, 59, tzinfo=UTC)


def test_of_several_reasons_the_first_counts_and_nobody_is_told_of_their_own_act() -> None:
    recipients = by_reason((K.MENTIONED, [2, 9]), (K.APPROVAL_NEEDED, [2, 3, 1]), (K.COMMENTED, [1, 2, 4]))
    assert recipients == {1: K.APPROVAL_NEEDED, 2: K.MENTIONED, 3: K.APPROVAL_NEEDED, 4: K.COMMENTED, 9: K.MENTIONED}
    rows = Cause(NotifiedEntity.PORF, 7, "comment:1", 9, {"comment_id": 1}).rows(recipients)
    assert [(row["user_id"], row["kind"]) for row in rows] == [
        (user_id, recipients[user_id]) for user_id in (1, 2, 3, 4)
    ]
    same = {
        "porf_id": 7,
        "purchase_order_id": None,
        "actor_id": 9,
        "dedupe_key": "comment:1",
        "data": {"comment_id": 1},
    }
    assert all(row.items() >= same.items() for row in rows)
    many = dict.fromkeys(range(10, 5000), K.APPROVAL_NEEDED)
    assert len(Cause(NotifiedEntity.PORF, 7, "porf:7:2", None).rows(many)) == MAX_RECIPIENTS


@pytest.mark.parametrize(
    ("now", "zone", "due"),
    [
        ("2026-05-04T05:59:59+00:00", "Europe/Berlin", "2026-05-04T06:00:00+00:00"),
        ("2026-05-04T06:00:00+00:00", "Europe/Berlin", "2026-05-05T06:00:00+00:00"),
        # The clocks change in the night.
        ("2026-03-28T12:00:00+00:00", "Europe/Berlin", "2026-03-29T06:00:00+00:00"),
        ("2026-10-24T12:00:00+00:00", "Europe/Berlin", "2026-10-25T07:00:00+00:00"),
        # Where it is tomorrow already.
        ("2026-05-03T19:59:00+00:00", "Pacific/Auckland", "2026-05-03T20:00:00+00:00"),
        ("2026-05-03T20:00:00+00:00", "Pacific/Auckland", "2026-05-04T20:00:00+00:00"),
    ],
)
def test_digests_are_due_at_eight_where_the_organisation_is(now: str, zone: str, due: str) -> None:
    assert next_digest(datetime.fromisoformat(now), zone) == datetime.fromisoformat(due)


@given(st.integers(1_577_836_800, 2_208_988_800), st.timezone_keys())
def test_the_next_digest_is_at_eight_of_this_day_or_the_next(seconds: int, zone: str) -> None:
    now = datetime.fromtimestamp(seconds, UTC)
    due = next_digest(now, zone)
    assert now < due.astimezone(UTC) <= now + timedelta(hours=50)
    assert (due.hour, due.minute, (due.date() - now.astimezone(ZoneInfo(zone)).date()).days in {0, 1}) == (8, 0, True)


def test_each_notification_has_its_mail_or_is_in_the_digest() -> None:
    found = [
        NewNotification(1, 5, EmailChoice.NOW, NOW),
        NewNotification(2, 5, EmailChoice.DIGEST, NOW),
        NewNotification(3, 5, EmailChoice.DIGEST, NOW),
        NewNotification(4, 6, EmailChoice.OFF, NOW),
        NewNotification(5, 6, EmailChoice.DIGEST, NOW),
    ]
    mails = planned_mails(found, NOW, "UTC")
    assert [(mail.user_id, mail.kind, mail.key, mail.due_at) for mail in mails] == [
        (5, "single", "single:1", NOW + timedelta(minutes=5)),
        (5, "digest", "digest:2026-05-03", datetime(2026, 5, 3, 8, tzinfo=UTC)),
        (6, "digest", "digest:2026-05-03", datetime(2026, 5, 3, 8, tzinfo=UTC)),
    ]


@pytest.mark.parametrize("language", Language)
def test_every_kind_has_its_words_in_every_language(language: Language) -> None:
    title, link = "Lamps {number} %s", "https://po.example/#/porf/7"
    decisions = [(K.DECIDED, decision) for decision in ("approved", "rejected", "returned")]
    kinds = [*((kind, None) for kind in DEFAULTS if kind is not K.DECIDED), *decisions]
    items = [Item(kind, "PORF-2026-000007", title, "Max", decision, link) for kind, decision in kinds]
    letters = [letter_about(item, language) for item in items]
    assert len({letter.subject for letter in letters}) == len(items)
    for letter in letters:
        assert title in letter.subject
        assert letter.body.splitlines()[:3] == [f"{letter.subject}.", "", link]
    # A draft order has no number.
    draft = letter_about(Item(K.MENTIONED, "", "Acme", "Max", None, None), language)
    assert f"{TEXTS[language].draft} (Acme)" in draft.subject
    digest = digest_of(items, "Müller {count} GmbH", language)
    assert digest.subject.startswith("Müller {count} GmbH")
    assert str(len(items)) in digest.subject
    assert [letter.subject for letter in letters] == [
        line.removeprefix("- ") for line in digest.body.splitlines() if line.startswith("- ")
    ]
    assert digest_of(items[:1], "M", language).subject == TEXTS[language].one.format(organisation="M")
    # There are more than fit: as many are listed, and the rest is only mentioned.
    long = digest_of([items[0]._replace(link=None)] * (MAX_LISTED + 1), "M", language)
    assert (long.body.count("\n- ") + 1, TEXTS[language].more in long.body, f"{MAX_LISTED}+" in long.subject) == (
        MAX_LISTED,
        True,
        True,
    )
