"""The requests that are sent to webhooks (OpenAPI 3.1, `webhooks`)."""

from po_api.web.openapi.parameters import tidy_parameter
from po_api.web.openapi.parts import Json


def complete_webhooks(spec: Json) -> None:
    """They are signed instead of authenticated, and have none of the API's own responses."""
    for methods in spec.get("webhooks", {}).values():
        for operation in methods.values():
            operation["parameters"] = [tidy_parameter(parameter) for parameter in operation["parameters"]]
            operation["security"] = []
            operation["responses"] = {
                "204": {"description": "The message is accepted, as by any status of 2xx"},
                "410": {"description": "The receiver wants no more messages: the endpoint is deactivated"},
            }
