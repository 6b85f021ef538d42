"""What can go wrong with a supplier."""

from po_api.core.errors import Conflict, NotFound


class SupplierNotFound(NotFound):
    """There is no such supplier, or none in your organisation."""

    code = "supplier_not_found"
    title = "There is no such supplier"


class SupplierNameTaken(Conflict):
    """An active supplier of this name exists already, perhaps in another spelling."""

    code = "supplier_name_taken"
    title = "An active supplier of this name exists already"
    constraint = "uq_suppliers_organisation_id_name_key"
