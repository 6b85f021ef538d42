"""What can go wrong with a purchase order."""

from po_api.core.errors import Conflict, NotFound, Unprocessable


class PurchaseOrderNotFound(NotFound):
    """There is no such purchase order, or none that you may see."""

    code = "purchase_order_not_found"
    title = "There is no such purchase order"


class MixedCurrencies(Conflict):
    """A purchase order has one currency; these requests have several."""

    code = "mixed_currencies"
    title = "A purchase order has one currency"


class MixedSuppliers(Conflict):
    """A purchase order goes to one supplier; these requests name several."""

    code = "mixed_suppliers"
    title = "A purchase order goes to one supplier"


class SupplierRequired(Unprocessable):
    """Neither the request nor you named a supplier."""

    code = "supplier_required"
    title = "A supplier is required"


class SupplierInactive(Conflict):
    """The supplier of the request is not active any more: choose another for a copy of it."""

    code = "supplier_inactive"
    title = "The supplier is not active any more"


class NotIssued(Conflict):
    """There is no document before the purchase order is issued."""

    code = "not_issued"
    title = "The purchase order is not issued"
