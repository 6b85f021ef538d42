"""The operations of the OpenAPI document, by parameters and by required credentials."""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

from fastapi import FastAPI

from support.files import PDF
from support.organisations import LINE

Json = dict[str, Any]

# These take no token.
SIGNING_IN = {
    "startSignIn",
    "startTokenSignIn",
    "completeSignIn",
    "exchangeSignInCode",
    "createSession",
    "refreshSession",
}
# Those of suppliers, who have a link.
BY_LINK = {"getLinkedOrder", "getLinkedOrderDocument", "viewLinkedOrder"}
PUBLIC = {"getLiveness", "getReadiness", *SIGNING_IN, *BY_LINK}
# These answers are stored nowhere, so no Idempotency-Key brings them back.
ANSWERS_WITH_SECRETS = {
    "startTokenSignIn",
    "exchangeSignInCode",
    "createSession",
    "refreshSession",
    "createApiKey",
    "rotateApiKey",
    "createWebhookEndpoint",
    "rotateWebhookSecret",
}

# The lists of the organisation's structure, by the kind of their entries.
STRUCTURE = {
    "cost_centre": "/cost-centres",
    "category": "/categories",
    "team": "/teams",
    "approval_group": "/approval-groups",
}


def named(kind: str, name: str) -> Json:
    """The body of a new entry of this kind."""
    return {"name": name, **({"code": name} if kind in {"cost_centre", "category"} else {})}


# Of a policy; no request is as expensive.
RULE: Json = {
    "stage": 1,
    "name": "Never",
    "conditions": {"total_gte": "900000000000.00"},
    "approvers": [{"kind": "role_approver"}],
}

WEBHOOK: Json = {"url": "https://erp.example/hook"}

# Operations that name something in their path, each with a body that would be accepted if it were the caller's.
BY_PATH: dict[str, Json | None] = {
    "revokeSession": None,
    "getApiKey": None,
    "rotateApiKey": {},
    "revokeApiKey": None,
    "getUser": None,
    "updateUser": {"name": "Mallory"},
    "deactivateUser": None,
    "activateUser": None,
    "getInvitation": None,
    "revokeInvitation": None,
    "acceptInvitation": {"leave": True},
    "declineInvitation": None,
    "getOrganisation": None,
    "getSupplier": None,
    "updateSupplier": {"name": "Mallory Ltd"},
    "deactivateSupplier": None,
    "activateSupplier": None,
    "listSupplierContacts": None,
    "addSupplierContact": {"email": "mallory@supplier.example"},
    "getSupplierContact": None,
    "updateSupplierContact": {"name": "Mallory"},
    "deactivateSupplierContact": None,
    "activateSupplierContact": None,
    "getAddress": None,
    "updateAddress": {"name": "Mallory's yard"},
    "deactivateAddress": None,
    "activateAddress": None,
    "listAddressHistory": None,
    "getCostCentre": None,
    "updateCostCentre": {"name": "Mallory"},
    "deactivateCostCentre": None,
    "activateCostCentre": None,
    "listCostCentreHistory": None,
    "getCategory": None,
    "updateCategory": {"name": "Mallory"},
    "deactivateCategory": None,
    "activateCategory": None,
    "listCategoryHistory": None,
    "getTeam": None,
    "updateTeam": {"name": "Mallory"},
    "deactivateTeam": None,
    "activateTeam": None,
    "listTeamHistory": None,
    "getApprovalGroup": None,
    "updateApprovalGroup": {"name": "Mallory"},
    "deactivateApprovalGroup": None,
    "activateApprovalGroup": None,
    "listApprovalGroupHistory": None,
    "getApprovalPolicy": None,
    "updateApprovalPolicy": {"carry": "never"},
    "deleteApprovalPolicy": None,
    "publishApprovalPolicy": None,
    "retireApprovalPolicy": None,
    "simulateApprovalPolicy": {"requester_id": 1},
    "listApprovalRules": None,
    "addApprovalRule": RULE,
    "getApprovalRule": None,
    "updateApprovalRule": {"name": "Mallory"},
    "deleteApprovalRule": None,
    "listApprovalPolicyHistory": None,
    "previewPorfApproval": None,
    "getPorfApproval": None,
    "listPorfApprovalRuns": None,
    "deleteExchangeRate": None,
    "getApprovalDelegation": None,
    "revokeApprovalDelegation": None,
    "deleteExternalReference": None,
    "exportPorf": None,
    "getPorf": None,
    "updatePorf": {"title": "Mine now"},
    "deletePorf": None,
    "copyPorf": None,
    "submitPorf": {},
    "recallPorf": {},
    "returnPorf": {"comment": "No"},
    "approvePorf": {},
    "rejectPorf": {"comment": "No"},
    "revisePorf": {},
    "cancelPorf": {},
    "reopenPorf": {},
    "closePorf": {},
    "reassignPorf": {"requester_id": 1},
    "overridePorf": {"comment": "Urgent"},
    "addPorfApprover": {"user_id": 1},
    "removePorfApprover": {"step_id": 1},
    "reassignPorfStep": {"step_id": 1, "replaced_id": 1, "user_id": 1},
    "listPorfLines": None,
    "addPorfLine": LINE,
    "getPorfLine": None,
    "updatePorfLine": {"description": "Other"},
    "deletePorfLine": None,
    "listPorfComments": None,
    "addPorfComment": {"text": "Hello"},
    "updatePorfComment": {"text": "Mallory was here"},
    "deletePorfComment": None,
    "listPorfFiles": None,
    "addPorfFile": None,
    "getPorfFile": None,
    "deletePorfFile": None,
    "getPorfTimeline": None,
    "listPorfHistory": None,
    "convertPorf": {},
    "getPurchaseOrder": None,
    "updatePurchaseOrder": {"terms": "None"},
    "updatePurchaseOrderLine": {"tax_category": "S"},
    "issuePurchaseOrder": {},
    "cancelPurchaseOrder": {"comment": "No"},
    "closePurchaseOrder": {},
    "getPurchaseOrderDocument": None,
    "getElectronicPurchaseOrder": None,
    "deliverPurchaseOrder": {"channel": "manual", "message": "Told Mallory on the phone"},
    "listPurchaseOrderDeliveries": None,
    "getDelivery": None,
    "retryDelivery": None,
    "cancelDelivery": None,
    "markDeliveryBounced": None,
    "retryFiling": None,
    "readNotification": None,
    "listPurchaseOrderComments": None,
    "addPurchaseOrderComment": {"text": "Hello"},
    "updatePurchaseOrderComment": {"text": "Mallory was here"},
    "deletePurchaseOrderComment": None,
    "listPurchaseOrderFiles": None,
    "addPurchaseOrderFile": None,
    "getPurchaseOrderFile": None,
    "deletePurchaseOrderFile": None,
    "getPurchaseOrderTimeline": None,
    "listPurchaseOrderHistory": None,
    "getWebhookEndpoint": None,
    "updateWebhookEndpoint": {"description": "Mallory"},
    "deleteWebhookEndpoint": None,
    "rotateWebhookSecret": {},
    "testWebhookEndpoint": None,
    "replayWebhookEvents": None,
    "listWebhookDeliveries": None,
    "getWebhookDelivery": None,
    "retryWebhookDelivery": None,
    "listWebhookEndpointHistory": None,
    "listSupplierHistory": None,
    "listUserHistory": None,
    "listInvitationHistory": None,
    "listApiKeyHistory": None,
}

# Operations of these that take a file.
UPLOADS = {"addPorfFile", "addPurchaseOrderFile"}


def content_of(name: str) -> Json:
    """The body of an operation of BY_PATH, as options of the client."""
    return {"files": {"file": ("quote.pdf", PDF)}} if name in UPLOADS else {"json": BY_PATH[name]}


# Query parameters that operations cannot do without.
REQUIRED_QUERY: dict[str, Json] = {"replayWebhookEvents": {"after": "0"}}

# Operations that take ids, numbers or texts elsewhere.
BY_BODY = {
    "createCostCentre",
    "createCategory",
    "createTeam",
    "createApprovalGroup",
    "createApprovalPolicy",
    "updateUser",
    "putExternalReference",
    "createPorf",
    "updatePorf",
    "importPorf",
    "reassignPorf",
    "convertPorf",
    "createPurchaseOrder",
    "createApprovalDelegation",
    "simulateApprovalPolicy",
    "addPorfApprover",
    "removePorfApprover",
    "reassignPorfStep",
}
BY_QUERY = {
    "listCostCentres",
    "listCategories",
    "listTeams",
    "listApprovalGroups",
    "listApprovalPolicies",
    "listApprovals",
    "listPorfs",
    "listPurchaseOrders",
    "listSuppliers",
    "listAddresses",
    "listExchangeRates",
    "listApprovalDelegations",
    "listExternalReferences",
    "listUsers",
    "listOrganisations",
    "listSessions",
    "listApiKeys",
    "listInvitations",
    "listFilings",
    "listDeliveries",
    "listNotifications",
    "listAuditEvents",
    "listEvents",
    "listWebhookEndpoints",
    "countPorfs",
    "countPurchaseOrders",
    "countSuppliers",
    "countUsers",
    "countInvitations",
    "exportPorfs",
    "exportPurchaseOrders",
    "exportSuppliers",
}

# Requests that cannot refer to entities of other organisations.
NAMES_NOTHING = {
    *BY_LINK,
    "startSignIn",
    "startTokenSignIn",
    "completeSignIn",
    "exchangeSignInCode",
    "createSession",
    "refreshSession",
    "createApiKey",
    "revokeAllSessions",
    "getCurrentSession",
    "revokeCurrentSession",
    "getMe",
    "leaveOrganisation",
    "listMyInvitations",
    "createInvitation",
    "createOrganisation",
    "createWebhookEndpoint",
    "getCurrentOrganisation",
    "listOrganisationHistory",
    "getSeal",
    "updateCurrentOrganisation",
    "getLogo",
    "setLogo",
    "deleteLogo",
    "createAddress",
    "putExchangeRate",
    "importExchangeRates",
    "getFilingSettings",
    "getNotificationCount",
    "readAllNotifications",
    "getNotificationPreferences",
    "updateNotificationPreferences",
    "checkFiling",
    "createSupplier",
    "getPorfImportTemplate",
    "getPorfStateMachine",
    "getPurchaseOrderStateMachine",
    "getLiveness",
    "getReadiness",
}


@lru_cache(maxsize=1)
def operations(app: FastAPI) -> Sequence[tuple[str, str, Json]]:
    """Method, path and operation of each operation in the OpenAPI document, with references to parameters resolved."""
    return [*_operations_of(app.openapi())]


def _operations_of(document: Json) -> Iterator[tuple[str, str, Json]]:
    shared = document["components"].get("parameters", {})
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            parameters = [
                shared.get(item.get("$ref", "").rpartition("/")[2], item) for item in operation.get("parameters", [])
            ]
            yield method.upper(), path, {**operation, "parameters": parameters}
