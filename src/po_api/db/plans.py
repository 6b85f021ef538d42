"""Plans that are made again before a statement with many rows.

A connection keeps the plans of its statements until the statistics of a table change. Those that were made while the
tables had a few rows may read all of them for each row: time grows with the square of the number of lines, on a new
installation to 20 s for a thousand of them.
"""

from sqlalchemy import text

from po_api.db.query import NoRow, Query

# For so many lines, reading all of them for each takes about as long as making the plans again: a tenth of a second.
FEW_LINES = 100

DISCARD_PLANS = Query("plans.discard", text("DISCARD PLANS"), NoRow)
