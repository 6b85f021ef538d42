"""Errors of suppliers."""

from po_api.core.errors import Conflict, NotFound


class SupplierNotFound(NotFound):
    """The supplier does not exist, or does not belong to the caller's organisation."""

    code = "supplier_not_found"
    title = "Supplier not found"


class SupplierInactive(Conflict):
    """Nothing is ordered from a deactivated supplier: reactivate it, or choose another one. For that, an approved
    request has to be reopened, and a draft order to be cancelled."""

    code = "supplier_inactive"
    title = "Supplier deactivated"


class SupplierNameTaken(Conflict):
    """An active supplier with this name already exists, possibly in another spelling: letter case, width, white space,
    characters that are not displayed."""

    code = "supplier_name_taken"
    title = "Supplier name already in use"
    constraint = "uq_suppliers_organisation_id_name_key"


class SupplierChanged(Conflict):
    """The name or the tax id of the supplier is not the one that was approved, or that the draft order was created
    with; `errors` names the fields. Cancel the draft order, reopen the request and have it approved again, or correct
    the supplier. Of a request that is ordered in part, close the rest and copy the request. Other data of the supplier
    may change."""

    code = "supplier_changed"
    title = "Supplier changed"
