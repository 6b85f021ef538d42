"""The tables of all features, for Alembic and the tests."""

from po_api import audit
from po_api.addresses import models as addresses
from po_api.api_keys import models as api_keys
from po_api.approval_delegations import models as approval_delegations
from po_api.approval_policies import models as approval_policies
from po_api.approvals import models as approvals
from po_api.comments import models as comments
from po_api.db import periodic, schema_info
from po_api.db.models import Base
from po_api.exchange_rates import models as exchange_rates
from po_api.external_references import models as external_references
from po_api.files import models as files
from po_api.filing import models as filing
from po_api.mail import models as mail
from po_api.members import models as members
from po_api.notifications import models as notifications
from po_api.organisations import models as organisations
from po_api.porfs import models as porfs
from po_api.purchase_orders import delivery_models as purchase_order_deliveries
from po_api.purchase_orders import models as purchase_orders
from po_api.sessions import models as sessions
from po_api.structure import models as structure
from po_api.suppliers import models as suppliers
from po_api.users import models as users
from po_api.web import models as web
from po_api.webhooks import models as webhooks

__all__ = [
    "addresses",
    "api_keys",
    "approval_delegations",
    "approval_policies",
    "approvals",
    "audit",
    "comments",
    "exchange_rates",
    "external_references",
    "files",
    "filing",
    "mail",
    "members",
    "metadata",
    "notifications",
    "organisations",
    "periodic",
    "porfs",
    "purchase_order_deliveries",
    "purchase_orders",
    "schema_info",
    "sessions",
    "structure",
    "suppliers",
    "users",
    "web",
    "webhooks",
]

metadata = Base.metadata
