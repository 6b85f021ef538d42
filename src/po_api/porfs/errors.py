"""What can go wrong with a purchase order request; `code` is what the API and `allowed_actions` say."""

from po_api.core.errors import Conflict, Forbidden, NotFound, Unprocessable


class PorfNotFound(NotFound):
    """There is no such purchase order request, or none that you may see."""

    code = "porf_not_found"
    title = "There is no such purchase order request"


class LineNotFound(NotFound):
    """The purchase order request has no such line."""

    code = "porf_line_not_found"
    title = "There is no such line"


class NotRequester(Forbidden):
    """Only the requester may do this."""

    code = "not_requester"
    title = "Only the requester may do this"


class OwnRequest(Forbidden):
    """Nobody decides on their own request, unless the organisation allows it."""

    code = "own_request"
    title = "You may not decide on your own request"


class OverApprovalLimit(Forbidden):
    """The total is above your approval limit."""

    code = "over_approval_limit"
    title = "The total is above your approval limit"


class LimitInOtherCurrency(Forbidden):
    """Your limit is in the organisation's base currency: another currency takes an approver without a limit."""

    code = "limit_in_other_currency"
    title = "Another currency takes an approver without a limit"


class ApproverInactive(Forbidden):
    """You were deactivated, or lost the role, while the request waited for you."""

    code = "approver_inactive"
    title = "You may not decide any more"


class NoLines(Unprocessable):
    """A request needs at least one line before it can be submitted."""

    code = "no_lines"
    title = "There are no lines"


class NoApprover(Conflict):
    """Nobody active could approve this: an administrator has to give someone the role or a higher limit."""

    code = "no_approver"
    title = "Nobody active could approve this"


class HasOrders(Conflict):
    """Purchase orders hold some of it: cancel them first."""

    code = "has_orders"
    title = "Purchase orders hold some of it"


class NothingLeft(Conflict):
    """Everything is ordered already."""

    code = "nothing_left"
    title = "Everything is ordered already"


class WasSubmitted(Conflict):
    """It has been before an approver, so it stays on record: cancel it instead."""

    code = "was_submitted"
    title = "It was submitted once and stays on record"


class CommentRequired(Unprocessable):
    """Who rejects or returns a request has to say why."""

    code = "comment_required"
    title = "A comment is required"


class TotalMismatch(Unprocessable):
    """The amount you sent differs from the one the server computed."""

    code = "total_mismatch"
    title = "The amount differs from the computed one"


class AmountTooLarge(Unprocessable):
    """The amounts are larger than a document can carry."""

    code = "amount_too_large"
    title = "The amount is too large"


class TooManyLines(Unprocessable):
    """A request or a purchase order has at most 10,000 lines."""

    code = "too_many_lines"
    title = "There are too many lines"


class UnknownRequester(Unprocessable):
    """The organisation has no such active member who may raise requests."""

    code = "unknown_requester"
    title = "There is no such active member who may raise requests"


class QuantityExceedsRemaining(Conflict):
    """More is asked for than what is left of the line."""

    code = "quantity_exceeds_remaining"
    title = "More is asked for than what is left"


class ApprovalMismatch(Conflict):
    """What was approved is not what is there now."""

    code = "approval_mismatch"
    title = "The approval does not cover this content"


class UnknownSupplier(Unprocessable):
    """There is no such active supplier in the organisation."""

    code = "unknown_supplier"
    title = "There is no such active supplier"


class UnknownLine(Unprocessable):
    """The request has no such line."""

    code = "unknown_line"
    title = "The request has no such line"


class DuplicateLine(Unprocessable):
    """A line is named twice: name it once, with the whole quantity."""

    code = "duplicate_line"
    title = "A line is named twice"
