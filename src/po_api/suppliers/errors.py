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
    """The supplier has another identity than the one that was approved, or that the draft order was created with: name,
    legal name, tax id, VAT id, company id, or electronic address; `errors` names the fields. Cancel the draft order,
    reopen the request and have it approved again, or correct the supplier. Of a request that is ordered in part, close
    the rest and copy the request. Other data of the supplier may change."""

    code = "supplier_changed"
    title = "Supplier changed"


class ContactNotFound(NotFound):
    """The supplier has no such contact."""

    code = "contact_not_found"
    title = "Contact not found"


class ContactExists(Conflict):
    """Another active contact of the supplier has this e-mail address."""

    code = "contact_exists"
    title = "Contact exists"
    constraint = "uq_supplier_contacts_email"
