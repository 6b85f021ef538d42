"""Errors of webhooks."""

from po_api.core.errors import Conflict, FieldError, NotFound, Unprocessable


class WebhookEndpointNotFound(NotFound):
    """The webhook endpoint does not exist, or does not belong to the caller's organisation."""

    code = "webhook_endpoint_not_found"
    title = "Webhook endpoint not found"


class WebhookDeliveryNotFound(NotFound):
    """The delivery does not exist, does not belong to this endpoint, or ended more than 30 days ago."""

    code = "webhook_delivery_not_found"
    title = "Webhook delivery not found"


class TooManyWebhookEndpoints(Conflict):
    """The organisation has the maximum number of webhook endpoints: delete one that is no longer used."""

    code = "too_many_webhook_endpoints"
    title = "Too many webhook endpoints"


class WebhookEndpointDisabled(Conflict):
    """Nothing is delivered to a deactivated endpoint but pings: activate it first (`is_active`)."""

    code = "webhook_endpoint_disabled"
    title = "Webhook endpoint deactivated"


class DeliveryInProgress(Conflict):
    """The delivery is being attempted at this moment: wait for the result."""

    code = "delivery_in_progress"
    title = "Delivery in progress"


class UrlNotAllowed(Unprocessable):
    """The URL is not one that webhooks are sent to: it has to begin with https://, and an address has to be on the
    internet or in a network that the operator has allowed (`WEBHOOK_ALLOWED_NETWORKS`). `errors` has the reason."""

    code = "url_not_allowed"
    title = "URL not allowed"

    def __init__(self, reason: str) -> None:
        super().__init__(errors=(FieldError("/url", self.code, reason),))


class NumberNotReached(Unprocessable):
    """The feed of the organisation has no event with this number yet."""

    code = "number_not_reached"
    title = "Number not reached"

    def __init__(self) -> None:
        super().__init__(errors=(FieldError("/after", self.code, self.title, "query"),))
