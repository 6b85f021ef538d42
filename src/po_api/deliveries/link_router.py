"""/supplier-links/current: an order for its supplier, who has no account. The link's token comes in a header.

Reading changes nothing: programs follow links, too. Only a person posts a name.
"""

from typing import Annotated

from fastapi import Depends, Header, Request, Response

from po_api.core.actor import Actor
from po_api.core.permissions import Permission
from po_api.db.database import enter_tenant
from po_api.db.query import QueryExecutor, TransactionExecutor
from po_api.deliveries.link_queries import LinkQueries
from po_api.deliveries.link_schemas import SupplierLineRead, SupplierOrderRead, SupplierView
from po_api.deliveries.link_service import LinkService
from po_api.deliveries.links import LinkToken
from po_api.purchase_orders.domain import PurchaseOrderStatus
from po_api.purchase_orders.renderings import stored_document
from po_api.purchase_orders.router import PDF
from po_api.web.dependencies import ADDRESS_LIMIT, session_of, unit_of
from po_api.web.openapi import binary, problems
from po_api.web.routing import api_router, requires

router = api_router(prefix="/supplier-links/current", tags=["supplier links"])

NO_INDEX = {"X-Robots-Tag": "noindex"}


async def _token(
    supplier_token: Annotated[
        str,
        Header(
            alias="Supplier-Token",
            description="What is behind the `#` of the link",
            examples=["1.mK3nY0v5Xb9Jf4Wq8Zr2Tc6Ld1Hs7Gp0Ae5Uo3Ii9Ny"],
        ),
    ] = "",
) -> LinkToken:
    return LinkToken.parse(supplier_token)


LinkTokenDep = Annotated[LinkToken, Depends(_token)]


async def _shown(executor: QueryExecutor, token: LinkToken) -> SupplierOrderRead:
    queries = LinkQueries(executor, token)
    order = await queries.order()
    lines = [SupplierLineRead.model_validate(line) for line in await queries.lines(order)]
    names = SupplierOrderRead.model_fields.keys() - {"lines"}
    return SupplierOrderRead(lines=lines, **{name: getattr(order, name) for name in names})


@router.get(
    "",
    operation_id="getLinkedOrder",
    summary="Get the order of a link",
    dependencies=[ADDRESS_LIMIT],
    responses=problems(404),
    openapi_extra=requires(Permission.PUBLIC),
)
async def get_order(request: Request, response: Response, token: LinkTokenDep) -> SupplierOrderRead:
    """Get an order as its supplier, with the token of the link in a mail."""
    response.headers.update(NO_INDEX)
    return await _shown(unit_of(request).executor.credentials, token)


@router.get(
    "/document.pdf",
    operation_id="getLinkedOrderDocument",
    summary="Get the document of a linked order",
    dependencies=[ADDRESS_LIMIT],
    response_class=Response,
    responses=binary(PDF) | problems(404),
    openapi_extra=requires(Permission.PUBLIC),
)
async def get_document(request: Request, token: LinkTokenDep) -> Response:
    """Get the PDF of the order of a link; that of a cancelled order is marked."""
    executor, state = unit_of(request).executor, request.app.state
    order = await LinkQueries(executor.credentials, token).order()
    await executor.close()
    document = await stored_document(
        state.database,
        # The link is the permission for this one order.
        Actor.system(token.organisation_id),
        state.renderings,
        order.purchase_order_id,
        as_issued=order.status != PurchaseOrderStatus.CANCELLED,
        is_filed=state.filing is not None,
    )
    headers = {"Content-Disposition": f'attachment; filename="{document.name}"', **NO_INDEX}
    return Response(document.content, media_type=PDF, headers=headers)


@router.post(
    "/view",
    operation_id="viewLinkedOrder",
    summary="Confirm that an order was read",
    dependencies=[ADDRESS_LIMIT],
    responses=problems(404),
    openapi_extra=requires(Permission.PUBLIC),
)
async def view(request: Request, response: Response, token: LinkTokenDep, body: SupplierView) -> SupplierOrderRead:
    """Tell the buyer who has read the order. The first name stays; a repetition changes nothing."""
    session = session_of(request)
    response.headers.update(NO_INDEX)
    await enter_tenant(session, token.organisation_id)
    await LinkService(session, token).view(body.name)
    return await _shown(TransactionExecutor(session), token)
