"""Tables of features above, by name: the few columns that policies depend on.

Whether a supplier is new, and how many requests keep an earlier version of a policy, is known to orders and approvals
only, which are above the policies that they use.
"""

from sqlalchemy import BigInteger, Text, column, table

PURCHASE_ORDERS = table(
    "purchase_orders",
    column("organisation_id", BigInteger),
    column("supplier_id", BigInteger),
    column("status", Text),
)
APPROVAL_RUNS = table(
    "approval_runs",
    column("organisation_id", BigInteger),
    column("policy_id", BigInteger),
    column("status", Text),
)
