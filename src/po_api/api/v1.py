"""Mounts the features under /api/v1."""

from fastapi import APIRouter

from po_api.api_keys.router import router as api_keys
from po_api.organisations.router import router as organisations
from po_api.porfs import domain as porf_domain
from po_api.porfs.files_router import router as porf_files
from po_api.porfs.router import router as porfs
from po_api.purchase_orders import domain as purchase_order_domain
from po_api.purchase_orders.router import conversion_router
from po_api.purchase_orders.router import router as purchase_orders
from po_api.sessions.router import router as sessions
from po_api.sessions.sign_in_router import router as sign_in
from po_api.suppliers.router import router as suppliers
from po_api.users.router import founding_router
from po_api.users.router import router as users
from po_api.web.dependencies import PrincipalDep
from po_api.web.routing import api_router
from po_api.web.state_machines import StateMachineRead, publish

PREFIX = "/api/v1"

_machines = api_router(prefix="/state-machines", tags=["state machines"])


@_machines.get("/porf", operation_id="getPorfStateMachine", summary="The states of a request")
async def get_porf_machine(_principal: PrincipalDep) -> StateMachineRead:
    return publish(porf_domain.MACHINE, porf_domain.PorfStatus)


@_machines.get("/purchase-order", operation_id="getPurchaseOrderStateMachine", summary="The states of an order")
async def get_purchase_order_machine(_principal: PrincipalDep) -> StateMachineRead:
    return publish(purchase_order_domain.MACHINE, purchase_order_domain.PurchaseOrderStatus)


router = APIRouter(prefix=PREFIX)
# `porf_files` before `porfs`: /porfs/import-template is not the request of that id.
for _feature in (
    sign_in,
    sessions,
    api_keys,
    users,
    founding_router,
    organisations,
    suppliers,
    porf_files,
    porfs,
    conversion_router,
    purchase_orders,
    _machines,
):
    router.include_router(_feature)
