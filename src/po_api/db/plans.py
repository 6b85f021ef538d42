"""Plans that are made again before a statement with many rows.

A connection keeps the plans of its statements, and of the checks of foreign keys, until the statistics of a table
change. Those that were made while the tables had a few rows may read all of them for each row: time grows with the
square of the number of lines, on a new installation to more than a minute for thousands of them.
"""

from sqlalchemy import text

from po_api.db.query import NoRow, Query

# Up to so many lines the old plans do no harm; with more, making the plans again takes a small part of the time.
FEW_LINES = 200

DISCARD_PLANS = Query("plans.discard", text("DISCARD PLANS"), NoRow)
