"""How many mails an organisation may send on a day (UTC), which operators have allowed."""

from datetime import date
from typing import NamedTuple

from sqlalchemy import Date, Integer, and_, bindparam
from sqlalchemy.dialects.postgresql import insert

from po_api.db.query import ORGANISATION_ID, Query, QueryExecutor
from po_api.mail.models import MailQuota


class _Used(NamedTuple):
    used: int


# The row of the day stays locked until the end of the transaction: the next transaction that counts sees the result.
_COUNT_MAIL = Query(
    "mail.count",
    insert(MailQuota)
    .values(organisation_id=ORGANISATION_ID, day=bindparam("day", type_=Date), used=1)
    .on_conflict_do_update(
        index_elements=["organisation_id", "day"],
        set_={"used": MailQuota.used + 1},
        where=and_(MailQuota.used < bindparam("per_day", type_=Integer)),
    )
    .returning(MailQuota.used),
    _Used,
)


async def count_mail(executor: QueryExecutor, organisation_id: int, day: date, *, per_day: int) -> bool:
    """Count a mail of the day; returns False if there were `per_day` already."""
    return await executor.row(_COUNT_MAIL, organisation_id=organisation_id, day=day, per_day=per_day) is not None
