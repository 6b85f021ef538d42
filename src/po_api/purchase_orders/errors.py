"""Errors of purchase orders."""

from po_api.core.errors import Conflict, Forbidden, NotFound, Unavailable, Unprocessable


class PurchaseOrderNotFound(NotFound):
    """The purchase order does not exist, or is not visible to the caller."""

    code = "purchase_order_not_found"
    title = "Purchase order not found"


class PartlyVisible(Forbidden):
    """The document has lines of other members' requests. Requesters get the documents of orders that consist of their
    own requests only."""

    code = "partly_visible"
    title = "Order partly visible"


class MixedCurrencies(Conflict):
    """A purchase order has one currency; the requests have different currencies."""

    code = "mixed_currencies"
    title = "Mixed currencies"


class MixedTaxRounding(Conflict):
    """A purchase order rounds its tax in one way; the requests were created with different settings: order them
    separately."""

    code = "mixed_tax_rounding"
    title = "Mixed tax rounding"


class MixedSuppliers(Conflict):
    """A purchase order has one supplier; the requests name different suppliers."""

    code = "mixed_suppliers"
    title = "Mixed suppliers"


class SupplierRequired(Unprocessable):
    """Neither the request nor the body names a supplier."""

    code = "supplier_required"
    title = "Supplier required"


class NotADraft(Conflict):
    """Only a draft has a preview: an issued order has its document."""

    code = "not_a_draft"
    title = "Purchase order is not a draft"


class PreviewAsIssued(Unprocessable):
    """A preview shows a draft, `as=issued` an order that was issued: send one of them."""

    code = "preview_as_issued"
    title = "Preview of an issued document"


class NotRendered(Unavailable):
    """The document could not be typeset. The order and its number are not affected, and it is tried again, in the
    background and by the next reading; if it keeps failing, the operator finds `typesetting_failed` in the log."""

    code = "document_not_rendered"
    title = "Document not rendered"

    def __init__(self) -> None:
        super().__init__(headers={"Retry-After": "5"})


class ElectronicOrderIncomplete(Unprocessable):
    """The order cannot be written as an electronic order of Peppol: each error names a field of the order that is
    missing or not allowed. The content of an issued order is fixed; asked of a draft, it says what to complete before
    the issue."""

    code = "electronic_order_incomplete"
    title = "Electronic order incomplete"


class ElectronicOrderCancelled(Conflict):
    """An electronic order has no mark for a cancellation. `as=issued` returns the one that the supplier may have."""

    code = "electronic_order_cancelled"
    title = "Electronic order cancelled"


class NotIssued(Conflict):
    """A purchase order has no document before it is issued; a draft has a preview (`preview=true`)."""

    code = "not_issued"
    title = "Purchase order not issued"


class MixedDeliveryAddresses(Conflict):
    """A purchase order is delivered to one address; the requests name different ones: name one in the body, or order
    them separately."""

    code = "mixed_delivery_addresses"
    title = "Mixed delivery addresses"


class TaxCategoryMismatch(Unprocessable):
    """The tax category does not fit the tax rate of the line, or has no reason of an exemption."""

    code = "tax_category_mismatch"
    title = "Tax category does not fit"


class AboveApproved(Conflict):
    """The net of the order exceeds the net that its quantities have in the approved requests by more than the
    organisation's `order_price_percent`, or with tax exceeds what the approval limits of those who approved a request
    permit. Cancel this draft, reopen the request, and have the new prices approved."""

    code = "above_approved"
    title = "Order exceeds what was approved"


class OrderLineNotFound(NotFound):
    """The order has no line with this id."""

    code = "order_line_not_found"
    title = "Line of the order not found"
