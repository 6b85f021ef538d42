"""Errors of deliveries."""

from po_api.core.errors import Conflict, NotFound, TooManyRequests, Unprocessable


class DeliveryNotFound(NotFound):
    """There is no such delivery in the organisation."""

    code = "delivery_not_found"
    title = "Delivery not found"


class NoRecipient(Conflict):
    """Nobody can be sent the order: its supplier has no active contact for orders, and the order no e-mail address of
    the supplier. Add a contact, or record a delivery of the channel `manual`."""

    code = "no_recipient"
    title = "No recipient"


class UnknownRecipient(Unprocessable):
    """A recipient is no active contact for orders of the supplier. Add it as a contact, or let an admin set
    `allow_other_recipients` of the organisation; `errors` names each."""

    code = "unknown_recipient"
    title = "Unknown recipient"


class TooManyRecipients(Unprocessable):
    """A mail has at most 10 recipients: name the contacts that get it in `contact_ids`."""

    code = "too_many_recipients"
    title = "Too many recipients"


class ManualOnly(Unprocessable):
    """A delivery of the channel `manual` has a `message`, which says who told the supplier and how, and nothing that
    belongs to a mail."""

    code = "manual_delivery"
    title = "Not part of a manual delivery"


class MailNotConfigured(Conflict):
    """This installation sends no mail: its operator has to set `MAIL_URL`. Deliveries of the channel `manual` are
    possible."""

    code = "mail_not_configured"
    title = "Mail not configured"


class MailNotAllowed(Conflict):
    """The organisation may not send mail: an operator of the installation has to allow it (`po-api organisations
    allow-mail`)."""

    code = "mail_not_allowed"
    title = "Mail not allowed"


class MailQuotaExceeded(TooManyRequests):
    """The organisation has sent as many mails as it may in a day. The day begins at midnight UTC, in `Retry-After`
    seconds; an operator can raise the number."""

    code = "mail_quota"
    title = "Mails of the day used up"


class DeliveryNotRetryable(Conflict):
    """Only a delivery that has failed, has bounced or is held is sent again. To send a mail once more, request another
    delivery of the order."""

    code = "delivery_not_retryable"
    title = "Delivery cannot be retried"


class DeliveryNotCancellable(Conflict):
    """Only a delivery that waits in the queue can be cancelled: this one is being sent, or it is finished."""

    code = "delivery_not_cancellable"
    title = "Delivery cannot be cancelled"


class DeliveryNotSent(Conflict):
    """Only a mail that was sent can have bounced."""

    code = "delivery_not_sent"
    title = "Delivery was not sent by mail"


class SupplierLinkNotFound(NotFound):
    """The link is not valid, or not valid any more. Ask the buyer for another one."""

    code = "supplier_link_not_found"
    title = "Link not valid"


class OrderNotDeliverable(Conflict):
    """The order is not an issued one any more, or has another revision: what the delivery says is not valid."""

    code = "order_not_deliverable"
    title = "Order cannot be delivered"
