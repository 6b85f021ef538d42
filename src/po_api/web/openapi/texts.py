"""The document's own texts, and those of each operation that follow from its parameters and its credentials."""

from po_api.web.openapi.declarations import KEY_SCOPE
from po_api.web.openapi.parts import Json, is_public, operations, parameter_names

# In the order in which the docs pages show them.
TAGS = {
    "porfs": "Purchase order requests (PORFs): create, approve, convert",
    "purchase orders": "Purchase orders, their numbers and documents",
    "deliveries": "Orders on their way to the supplier, by mail",
    "supplier links": "Orders for suppliers, who have no account but a link",
    "notifications": "What the caller is told of, in the application and by mail",
    "filing": "Documents of orders in the organisation's folder",
    "suppliers": "Suppliers of the organisation",
    "addresses": "Delivery and billing addresses of the organisation",
    "cost centres": "Cost centres of the organisation, in a hierarchy with owners",
    "categories": "Categories of goods and services, in a hierarchy",
    "teams": "Teams of members, in a hierarchy with leads",
    "approval groups": "Groups of members who decide together",
    "approval policies": "Versioned rules that say who has to approve a request",
    "delegations": "Members who decide for others for some time",
    "exchange rates": "Rates of other currencies in the base currency",
    "external references": "Ids of suppliers, requests and orders in other systems",
    "users": "Members of the caller's organisation",
    "invitations": "Invitations to the caller's organisation",
    "organisations": "Organisations (tenants) and their settings",
    "events": "The feed of all changes, for other systems to follow",
    "webhooks": "Endpoints of other systems, to which events are delivered",
    "audit trail": "Who changed what and when, in the whole organisation",
    "sessions": "Sign-in, and the caller's own sessions",
    "API keys": "Keys with which scripts act as a user",
    "state machines": "Transition tables of requests and orders",
    "health": "Liveness and readiness",
}

DESCRIPTION = """
From a purchase order request (PORF) to an issued purchase order.

## A first order in five steps

1. `POST /api/v1/porfs` creates a request with its lines: a draft (for a member with the role requester).
2. `POST /api/v1/porfs/{porf_id}/submit` asks for approval.
3. `POST /api/v1/porfs/{porf_id}/approve` approves it (for another member, with the role approver).
4. `POST /api/v1/porfs/{porf_id}/purchase-orders` converts it into a draft order (for a buyer).
5. `POST /api/v1/purchase-orders/{order_id}/issue` issues the order with its number, and sends it to the supplier if
   the body is `{"deliver": {}}`; `GET /api/v1/purchase-orders/{order_id}/document.pdf` is its document.

Steps 2 to 5 send the `ETag` of the response before as `If-Match`.

## Conventions

Send the access token of a session (see `sessions`) or an API key as `Authorization: Bearer …`. Amounts are decimal
strings. Updates and actions require `If-Match` with the `ETag` of the version that was read. Every POST accepts an
`Idempotency-Key`, which makes it safe to repeat, except those whose response contains a secret and that of suppliers.
Errors are RFC 9457 problems with a stable `code`, documented at the problem's `type`. `allowed_actions` lists the
actions of a resource, whether the caller may perform each now and, if not, the reason code.
"""


# What a parameter adds to the description of the operations that have it.
_CONVENTIONS = {
    "If-Match": "Requires the ETag that was read as `If-Match`: 428 if it is missing, 412 if it is outdated.",
    "Idempotency-Key": "A repetition with the same `Idempotency-Key` changes nothing and returns the stored response.",
    "dry_run": "With `dry_run=true` the result is returned and nothing is changed.",
    "cursor": "Follow `next_cursor` or the `Link` header until `has_more` is false.",
    "If-None-Match": "Returns 304 while the ETag in `If-None-Match` is current.",
}


def describe_operations(spec: Json) -> None:
    """Complete the descriptions with the meaning of the parameters and the accepted credentials."""
    for _, _, operation in operations(spec):
        own = operation.get("description") or f"{operation['summary'].rstrip('.?')}."
        operation["description"] = " ".join([own, *_conventions(operation)])


def _conventions(operation: Json) -> list[str]:
    names = parameter_names(operation)
    found = [text for name, text in _CONVENTIONS.items() if name in names]
    if is_public(operation):
        return found
    scope = operation.get(KEY_SCOPE)
    return [*found, f"API keys require the scope `{scope}`." if scope else "Does not accept API keys."]
