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
