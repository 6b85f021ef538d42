"""The routes of all features, which are under /api/v1."""

from fastapi import Response

from po_api.addresses.router import router as addresses
from po_api.api_keys.router import router as api_keys
from po_api.approval_delegations.router import router as approval_delegations
from po_api.approval_policies.router import router as approval_policies
from po_api.core.permissions import Permission
from po_api.deliveries.link_router import router as supplier_links
from po_api.deliveries.router import orders_router as order_deliveries
from po_api.deliveries.router import router as deliveries
from po_api.events.router import router as events
from po_api.events.router import seals
from po_api.exchange_rates.router import router as exchange_rates
from po_api.exports import router as exports
from po_api.external_references.router import router as external_references
from po_api.filing.router import router as filings
from po_api.filing.router import settings_router as filing_settings
from po_api.history.router import invitations as invitation_history
from po_api.history.router import organisations as organisation_history
from po_api.history.router import router as audit_events
from po_api.history.router import users as user_history
from po_api.members.router import router as invitations
from po_api.notifications.router import preferences_router as notification_preferences
from po_api.notifications.router import router as notifications
from po_api.organisations.router import router as organisations
from po_api.porfs import domain as porf_domain
from po_api.porfs.approval_router import router as approvals
from po_api.porfs.collaboration_router import router as porf_collaboration
from po_api.porfs.files_router import router as porf_files
from po_api.porfs.inbox_router import router as inbox
from po_api.porfs.plan_router import policies_router as approval_simulations
from po_api.porfs.plan_router import router as approval_previews
from po_api.porfs.router import router as porfs
from po_api.porfs.step_router import router as approval_steps
from po_api.purchase_orders import domain as purchase_order_domain
from po_api.purchase_orders.collaboration_router import router as order_collaboration
from po_api.purchase_orders.router import conversion_router
from po_api.purchase_orders.router import router as purchase_orders
from po_api.sessions.router import router as sessions
from po_api.sessions.sign_in_router import router as sign_in
from po_api.structure.approval_group_router import router as approval_groups
from po_api.structure.category_router import router as categories
from po_api.structure.router import router as cost_centres
from po_api.structure.team_router import router as teams
from po_api.suppliers.contact_router import router as supplier_contacts
from po_api.suppliers.router import router as suppliers
from po_api.timeline.router import orders_router as order_timeline
from po_api.timeline.router import porfs_router as porf_timeline
from po_api.users.me_router import router as me
from po_api.users.organisations_router import router as organisations_of_members
from po_api.users.organisations_router import single_router as single_organisations
from po_api.users.router import router as users
from po_api.web.dependencies import PrincipalDep
from po_api.web.fast_path import RouteGroup
from po_api.web.routing import api_router, requires
from po_api.web.state_machines import StateMachineRead, publish
from po_api.webhooks.outgoing_router import router as sent_webhooks
from po_api.webhooks.router import router as webhook_endpoints

_machines = api_router(prefix="/state-machines", tags=["state machines"])


# Rendered once: the tables are constants.
_PORF_MACHINE = publish(porf_domain.MACHINE, porf_domain.PorfStatus).model_dump_json()
_PURCHASE_ORDER_MACHINE = publish(
    purchase_order_domain.MACHINE, purchase_order_domain.PurchaseOrderStatus
).model_dump_json()


def _json(text: str) -> Response:
    return Response(text, media_type="application/json")


@_machines.get(
    "/porf",
    operation_id="getPorfStateMachine",
    summary="Get the state machine of purchase order requests",
    response_model=StateMachineRead,
    openapi_extra=requires(Permission.PORFS_READ),
)
async def get_porf_machine(_principal: PrincipalDep) -> Response:
    return _json(_PORF_MACHINE)


@_machines.get(
    "/purchase-order",
    operation_id="getPurchaseOrderStateMachine",
    summary="Get the state machine of purchase orders",
    response_model=StateMachineRead,
    openapi_extra=requires(Permission.PORFS_READ),
)
async def get_purchase_order_machine(_principal: PrincipalDep) -> Response:
    return _json(_PURCHASE_ORDER_MACHINE)


# The order of the OpenAPI document, and the order of matching: /porfs/import-template and the exports have to come
# before /porfs/{porf_id}.
GROUPS = (
    RouteGroup(sign_in, sessions),
    RouteGroup(api_keys),
    RouteGroup(me, users, user_history),
    RouteGroup(invitations, invitation_history),
    RouteGroup(organisations_of_members, organisations, organisation_history, filing_settings, single_organisations),
    RouteGroup(addresses),
    RouteGroup(cost_centres),
    RouteGroup(categories),
    RouteGroup(teams),
    RouteGroup(approval_groups),
    RouteGroup(approval_policies, approval_simulations),
    RouteGroup(exchange_rates),
    RouteGroup(approval_delegations),
    RouteGroup(inbox),
    RouteGroup(external_references),
    RouteGroup(exports.suppliers_router, suppliers, supplier_contacts),
    RouteGroup(
        exports.porfs_router,
        porf_files,
        porfs,
        approvals,
        approval_steps,
        approval_previews,
        porf_collaboration,
        porf_timeline,
        conversion_router,
    ),
    RouteGroup(exports.purchase_orders_router, purchase_orders, order_collaboration, order_timeline, order_deliveries),
    RouteGroup(deliveries),
    RouteGroup(supplier_links),
    RouteGroup(filings),
    RouteGroup(notifications),
    RouteGroup(notification_preferences),
    RouteGroup(events),
    RouteGroup(audit_events, seals),
    RouteGroup(webhook_endpoints),
    RouteGroup(_machines),
)

# Requests that are sent, for the section `webhooks` of the document.
SENT = sent_webhooks
