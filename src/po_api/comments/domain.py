"""The rules of comments: whom they mention, and how long their authors may change them."""

import re
from datetime import datetime, timedelta

MAX_MENTIONS = 50
# The time in which an author may edit or delete a comment.
EDIT_TIME = timedelta(minutes=15)
# `@[7]` mentions the member with the id 7.
_MENTION = re.compile(r"@\[([0-9]{1,19})\]")


def mentions_of(text: str) -> list[int]:
    """The ids of the members that a text mentions, each once, in their order."""
    return list(dict.fromkeys(int(found) for found in _MENTION.findall(text)))


def may_change(created_at: datetime, now: datetime) -> bool:
    """Whether its author may still edit or delete a comment."""
    return now < created_at + EDIT_TIME
