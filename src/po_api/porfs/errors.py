"""Errors of purchase order requests; their codes are also the reasons in `allowed_actions`."""

from po_api.approval_policies.errors import NoApprover as NoApprover  # noqa: PLC0414 - exported
from po_api.core.errors import Conflict, Forbidden, NotFound, Unprocessable


class PorfNotFound(NotFound):
    """The purchase order request does not exist, or is not visible to the caller."""

    code = "porf_not_found"
    title = "Purchase order request not found"
    # Of a comment that is added while the draft is deleted.
    constraint = "fk_porf_comments_organisation_id_porf_id"


class ApprovalNotFound(NotFound):
    """The purchase order request was never submitted."""

    code = "approval_not_found"
    title = "No approval"


class LineNotFound(NotFound):
    """The purchase order request has no line with this id."""

    code = "porf_line_not_found"
    title = "Line not found"


class NotRequester(Forbidden):
    """Only the requester of the purchase order request may perform this action."""

    code = "not_requester"
    title = "Requester only"


class CurrencyWithdrawn(Conflict):
    """The currency is no longer legal tender: existing documents stay readable, but nothing is submitted, copied,
    ordered or issued in it. Reopen or recall the request and change its currency; cancel a draft order first."""

    code = "currency_withdrawn"
    title = "Withdrawn currency"


class WithdrawnBaseCurrency(Unprocessable):
    """The organisation's base currency is no longer legal tender: state a currency for new requests."""

    code = "withdrawn_currency"
    title = "Withdrawn currency"


class NoLines(Unprocessable):
    """A purchase order request must have at least one line before it can be submitted."""

    code = "no_lines"
    title = "No lines"


class HasOrders(Conflict):
    """Quantities of the request are allocated to purchase orders: cancel those orders first."""

    code = "has_orders"
    title = "Quantities are allocated to purchase orders"


class NothingLeft(Conflict):
    """The whole requested quantity is ordered or closed. A tolerance only extends orders of what remains: raise a new
    request for more."""

    code = "nothing_left"
    title = "Nothing left to order"


class WasSubmitted(Conflict):
    """A request that has been submitted is kept on record: cancel it instead of deleting it."""

    code = "was_submitted"
    title = "Submitted requests cannot be deleted"


class CommentRequired(Unprocessable):
    """A comment is required to reject or return a request, and to cancel an issued purchase order."""

    code = "comment_required"
    title = "Comment required"


class TotalMismatch(Unprocessable):
    """The amount that was sent differs from the amount the server computed."""

    code = "total_mismatch"
    title = "Amount differs from the computed amount"


class AmountTooLarge(Unprocessable):
    """An amount exceeds the maximum of a document."""

    code = "amount_too_large"
    title = "Amount too large"


class TooManyLines(Unprocessable):
    """A purchase order request or a purchase order has at most 10,000 lines."""

    code = "too_many_lines"
    title = "Too many lines"


class UnknownRequester(Unprocessable):
    """The organisation has no active member with this id who may create purchase order requests."""

    code = "unknown_requester"
    title = "Unknown requester"


class RequesterHasApproved(Conflict):
    """The member has approved a step of the pending request, in person or through a delegate, and nobody approves their
    own. Return the request first, or name another member."""

    code = "requester_has_approved"
    title = "The member has approved a step of the request"


class QuantityExceedsRemaining(Conflict):
    """The requested quantity exceeds what remains of the line."""

    code = "quantity_exceeds_remaining"
    title = "Quantity exceeds what remains"


class ApprovalMismatch(Conflict):
    """The content of the request differs from the content that was approved."""

    code = "approval_mismatch"
    title = "Content differs from the approved content"


class UnknownSupplier(Unprocessable):
    """The organisation has no active supplier with this id."""

    code = "unknown_supplier"
    title = "Unknown or inactive supplier"


class UnknownLine(Unprocessable):
    """The purchase order request has no line with the id given in the body."""

    code = "unknown_line"
    title = "Unknown line"


class DuplicateLine(Unprocessable):
    """A line appears twice in the body: name it once, with the total quantity."""

    code = "duplicate_line"
    title = "Duplicate line"
