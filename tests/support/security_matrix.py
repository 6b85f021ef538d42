"""The security matrix, and an organisation in which every operation of it is possible."""

import itertools
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx
from fastapi import FastAPI
from sqlalchemy import update
from sqlalchemy.orm import InstrumentedAttribute

from po_api.core.permissions import Role, Scope
from support.electronic_orders import connect
from support.files import uploaded
from support.filings import held_filing
from support.images import png
from support.mail import delivery_in
from support.notifications import notification_for
from support.operations import (
    BY_PATH,
    REQUIRED_QUERY,
    RULE,
    STRUCTURE,
    UPLOADS,
    WEBHOOK,
    Json,
    content_of,
    named,
    operations,
)
from support.organisations import (
    PREFIX,
    Member,
    TestOrganisation,
    created,
    new_member,
    new_organisation,
    ok,
    with_new_session,
)

Ids = dict[str, int]
_serial = itertools.count()
PNG = png()

# Members with exactly this role. Strangers belong to no organisation, nor do operators, who run the installation.
COLUMNS = ("requester", "approver", "buyer", "admin", "auditor", "stranger", "operator")

# What each operation is tried on, the scope that it takes of a key, and what comes of it: with the caller's own thing
# and, after the slash, with another member's, where that makes a difference.
#
#   yes  it is done                    no   403 missing_role     org  403 no_organisation
#   404  as if there were no such one  req  403 not_requester    ops  403 operators_only
#   409  already_member, or step_not_removable                   aut  403 not_author      upl  403 not_uploader
_MATRIX = """
operation                    on       scope                 requester approver buyer   admin   auditor stranger operator

listSessions                 -        -                     yes       yes      yes     yes     yes     yes      yes
revokeAllSessions            -        -                     yes       yes      yes     yes     yes     yes      yes
getCurrentSession            -        -                     yes       yes      yes     yes     yes     yes      yes
revokeCurrentSession         -        -                     yes       yes      yes     yes     yes     yes      yes
revokeSession                session  -                     yes/404   yes/404  yes/404 yes/404 yes/404 yes/404  yes/404
createApiKey                 -        -                     yes       yes      yes     yes     yes     yes      yes
listApiKeys                  -        -                     yes       yes      yes     yes     yes     yes      yes
getApiKey                    key      -                     yes/404   yes/404  yes/404 yes     yes/404 yes/404  yes/404
revokeApiKey                 key      -                     yes/404   yes/404  yes/404 yes     yes/404 yes/404  yes/404
rotateApiKey                 key      -                     yes/404   yes/404  yes/404 yes/404 yes/404 yes/404  yes/404
listApiKeyHistory            key      -                     yes/404   yes/404  yes/404 yes     yes/404 org      org

getMe                        -        users:read            yes       yes      yes     yes     yes     yes      yes
leaveOrganisation            -        -                     yes       yes      yes     yes     yes     org      org
listMyInvitations            -        -                     yes       yes      yes     yes     yes     yes      yes
acceptInvitation             mine     -                     yes/404   yes/404  yes/404 yes/404 yes/404 yes/404  yes/404
declineInvitation            mine     -                     yes/404   yes/404  yes/404 yes/404 yes/404 yes/404  yes/404
listUsers                    -        users:read            yes       yes      yes     yes     yes     org      org
countUsers                   -        users:read            yes       yes       yes     yes     yes     org      org
getUser                      user     users:read            yes       yes      yes     yes     yes     org      org
updateUser                   user     users:write           yes/no    yes/no   yes/no  yes     yes/no  org      org
deactivateUser               user     users:write           no        no       no      yes     no      org      org
activateUser                 user     users:write           no        no       no      yes     no      org      org
listUserHistory              user     users:read            yes       yes      yes     yes     yes     org      org

listInvitations              -        users:write           no        no       no      yes     no      org      org
countInvitations             -        users:write           no        no        no      yes     no      org      org
createInvitation             -        users:write           no        no       no      yes     no      org      org
getInvitation                invited  users:write           no        no       no      yes     no      org      org
revokeInvitation             invited  users:write           no        no       no      yes     no      org      org
listInvitationHistory        invited  users:write           no        no       no      yes     no      org      org

createOrganisation           -        organisations:write   409       409      409     409     409     yes      yes
listOrganisations            -        organisations:read    ops       ops      ops     ops     ops     ops      yes
getCurrentOrganisation       -        organisations:read    yes       yes      yes     yes     yes     org      org
updateCurrentOrganisation    -        organisations:write   no        no       no      yes     no      org      org
listOrganisationHistory      -        organisations:read    yes       yes      yes     yes     yes     org      org
getLogo                      logo     organisations:read    yes       yes      yes     yes     yes     org      org
setLogo                      -        organisations:write   no        no       no      yes     no      org      org
deleteLogo                   logo     organisations:write   no        no       no      yes     no      org      org
getOrganisation              company  organisations:read    yes       yes      yes     yes     yes     404      yes

listSuppliers                -        suppliers:read        yes       yes      yes     yes     yes     org      org
countSuppliers               -        suppliers:read        yes       yes       yes     yes     yes     org      org
exportSuppliers              -        suppliers:read        yes       yes       yes     yes     yes     org      org
createSupplier               -        suppliers:write       no        no       yes     yes     no      org      org
getSupplier                  supplier suppliers:read        yes       yes      yes     yes     yes     org      org
updateSupplier               supplier suppliers:write       no        no       yes     yes     no      org      org
deactivateSupplier           supplier suppliers:write       no        no       yes     yes     no      org      org
activateSupplier             supplier suppliers:write       no        no       yes     yes     no      org      org
listSupplierHistory          supplier suppliers:read        yes       yes      yes     yes     yes     org      org

listSupplierContacts         supplier suppliers:read        yes       yes      yes     yes     yes     org      org
addSupplierContact           supplier suppliers:write       no        no       yes     yes     no      org      org
getSupplierContact           contact  suppliers:read        yes       yes      yes     yes     yes     org      org
updateSupplierContact        contact  suppliers:write       no        no       yes     yes     no      org      org
deactivateSupplierContact    contact  suppliers:write       no        no       yes     yes     no      org      org
activateSupplierContact      contact  suppliers:write       no        no       yes     yes     no      org      org

listAddresses                -        organisations:read    yes       yes      yes     yes     yes     org      org
createAddress                -        organisations:write   no        no       yes     yes     no      org      org
getAddress                   address  organisations:read    yes       yes      yes     yes     yes     org      org
updateAddress                address  organisations:write   no        no       yes     yes     no      org      org
deactivateAddress            address  organisations:write   no        no       yes     yes     no      org      org
activateAddress              address  organisations:write   no        no       yes     yes     no      org      org
listAddressHistory           address  organisations:read    yes       yes      yes     yes     yes     org      org

listCostCentres              -        organisations:read    yes       yes      yes     yes     yes     org      org
createCostCentre             -        organisations:write   no        no       no      yes     no      org      org
getCostCentre                cost_centre organisations:read    yes       yes      yes     yes     yes     org      org
updateCostCentre             cost_centre organisations:write   no        no       no      yes     no      org      org
deactivateCostCentre         cost_centre organisations:write   no        no       no      yes     no      org      org
activateCostCentre           cost_centre organisations:write   no        no       no      yes     no      org      org
listCostCentreHistory        cost_centre organisations:read    yes       yes      yes     yes     yes     org      org

listCategories               -        organisations:read    yes       yes      yes     yes     yes     org      org
createCategory               -        organisations:write   no        no       no      yes     no      org      org
getCategory                  category organisations:read    yes       yes      yes     yes     yes     org      org
updateCategory               category organisations:write   no        no       no      yes     no      org      org
deactivateCategory           category organisations:write   no        no       no      yes     no      org      org
activateCategory             category organisations:write   no        no       no      yes     no      org      org
listCategoryHistory          category organisations:read    yes       yes      yes     yes     yes     org      org

listTeams                    -        organisations:read    yes       yes      yes     yes     yes     org      org
createTeam                   -        organisations:write   no        no       no      yes     no      org      org
getTeam                      team     organisations:read    yes       yes      yes     yes     yes     org      org
updateTeam                   team     organisations:write   no        no       no      yes     no      org      org
deactivateTeam               team     organisations:write   no        no       no      yes     no      org      org
activateTeam                 team     organisations:write   no        no       no      yes     no      org      org
listTeamHistory              team     organisations:read    yes       yes      yes     yes     yes     org      org

listApprovalGroups           -        organisations:read    yes       yes      yes     yes     yes     org      org
createApprovalGroup          -        organisations:write   no        no       no      yes     no      org      org
getApprovalGroup             group    organisations:read    yes       yes      yes     yes     yes     org      org
updateApprovalGroup          group    organisations:write   no        no       no      yes     no      org      org
deactivateApprovalGroup      group    organisations:write   no        no       no      yes     no      org      org
activateApprovalGroup        group    organisations:write   no        no       no      yes     no      org      org
listApprovalGroupHistory     group    organisations:read    yes       yes      yes     yes     yes     org      org

listApprovalPolicies         -        organisations:read    no        no       no      yes     yes     org      org
createApprovalPolicy         no_draft approval_policies:write no      no       no      yes     no      org      org
getApprovalPolicy            policy   organisations:read    no        no       no      yes     yes     org      org
updateApprovalPolicy         policy   approval_policies:write no      no       no      yes     no      org      org
deleteApprovalPolicy         policy   approval_policies:write no      no       no      yes     no      org      org
publishApprovalPolicy        policy   approval_policies:write no      no       no      yes     no      org      org
retireApprovalPolicy         published approval_policies:write no     no       no      yes     no      org      org
simulateApprovalPolicy       policy   approval_policies:write no      no       no      yes     no      org      org
listApprovalRules            policy   organisations:read    no        no       no      yes     yes     org      org
addApprovalRule              policy   approval_policies:write no      no       no      yes     no      org      org
getApprovalRule              policy   organisations:read    no        no       no      yes     yes     org      org
updateApprovalRule           policy   approval_policies:write no      no       no      yes     no      org      org
deleteApprovalRule           policy   approval_policies:write no      no       no      yes     no      org      org
listApprovalPolicyHistory    policy   organisations:read    no        no       no      yes     yes     org      org

listExchangeRates            -        organisations:read    yes       yes      yes     yes     yes     org      org
putExchangeRate              -        organisations:write   no        no       no      yes     no      org      org
importExchangeRates          -        organisations:write   no        no       no      yes     no      org      org
deleteExchangeRate           rate     organisations:write   no        no       no      yes     no      org      org

listApprovalDelegations      -        -                     yes       yes      yes     yes     yes     org      org
createApprovalDelegation     -        -                     no        yes      no      yes     no      org      org
getApprovalDelegation        delegation -                   404       yes      yes     yes     yes     org      org
revokeApprovalDelegation     delegation -                   404       yes      no      yes     no      org      org

listExternalReferences       -        external_references:read no     no       yes     yes     yes     org      org
putExternalReference         supplier external_references:write no    no       yes     yes     no      org      org
deleteExternalReference      reference external_references:write no   no       yes     yes     no      org      org

listPorfs                    -        porfs:read            yes       yes      yes     yes     yes     org      org
countPorfs                   -        porfs:read            yes       yes       yes     yes     yes     org      org
exportPorfs                  -        porfs:read            yes       yes       yes     yes     yes     org      org
createPorf                   -        porfs:write           yes       no       yes     yes     no      org      org
importPorf                   -        porfs:write           yes       no       yes     yes     no      org      org
getPorfImportTemplate        -        porfs:read            yes       yes      yes     yes     yes     org      org
getPorf                      approved porfs:read            yes/404   yes      yes     yes     yes     org      org
exportPorf                   approved porfs:read            yes/404   yes      yes     yes     yes     org      org
listPorfLines                approved porfs:read            yes/404   yes      yes     yes     yes     org      org
getPorfLine                  approved porfs:read            yes/404   yes      yes     yes     yes     org      org
listPorfHistory              approved porfs:read            yes/404   yes      yes     yes     yes     org      org
listPorfComments             approved porfs:read            yes/404   yes      yes     yes     yes     org      org
addPorfComment               approved porfs:write           yes/404   yes      yes     yes     no      org      org
updatePorfComment            comment  porfs:write           yes/404   aut      yes/aut yes/aut no      org      org
deletePorfComment            comment  porfs:write           yes/404   aut      yes/aut yes     no      org      org
listPorfFiles                approved porfs:read            yes/404   yes      yes     yes     yes     org      org
addPorfFile                  approved porfs:write           yes/404   yes      yes     yes     no      org      org
getPorfFile                  file     porfs:read            yes/404   yes      yes     yes     yes     org      org
deletePorfFile               file     porfs:write           yes/404   upl      yes/upl yes     no      org      org
getPorfTimeline              approved porfs:read            yes/404   yes      yes     yes     yes     org      org
copyPorf                     approved porfs:write           yes/404   no       yes     yes     no      org      org
listApprovals                -        porfs:read            yes       yes      yes     yes     yes     org      org
previewPorfApproval          approved porfs:read            yes/404   yes      yes     yes     yes     org      org
getPorfApproval              approved porfs:read            yes/404   yes      yes     yes     yes     org      org
listPorfApprovalRuns         approved porfs:read            yes/404   yes      yes     yes     yes     org      org
updatePorf                   draft    porfs:write           yes/404   404      yes/req yes     req     org      org
addPorfLine                  draft    porfs:write           yes/404   404      yes/req yes     req     org      org
updatePorfLine               draft    porfs:write           yes/404   404      yes/req yes     req     org      org
deletePorfLine               draft    porfs:write           yes/404   404      yes/req yes     req     org      org
deletePorf                   draft    porfs:write           yes/404   404      yes/req yes     req     org      org
submitPorf                   draft    porfs:write           yes/404   404      yes/req yes     req     org      org
recallPorf                   pending  porfs:write           yes/404   req      yes/req yes/req req     org      org
returnPorf                   pending  porfs:approve         no/404    yes      no      no      no      org      org
approvePorf                  pending  porfs:approve         no/404    yes      no      no      no      org      org
rejectPorf                   pending  porfs:approve         no/404    yes      no      no      no      org      org
revisePorf                   rejected porfs:write           yes/404   req      yes/req yes/req req     org      org
cancelPorf                   pending  porfs:write           yes/404   no       yes     yes     no      org      org
reopenPorf                   approved porfs:write           no/404    no       yes     yes     no      org      org
closePorf                    approved porfs:write           no/404    no       yes     yes     no      org      org
reassignPorf                 approved porfs:write           no/404    no       no      yes     no      org      org
overridePorf                 foreign  porfs:write           404       no       no      yes     no      org      org
addPorfApprover              pending  porfs:write           yes/404   yes      yes     yes     req     org      org
removePorfApprover           asked    porfs:write           yes/404   409      yes/409 yes     req     org      org
reassignPorfStep             asked    porfs:write           no/404    no       no      yes     no      org      org

convertPorf                  approved purchase_orders:write no        no       yes     yes     no      org      org
createPurchaseOrder          approved purchase_orders:write no        no       yes     yes     no      org      org
listPurchaseOrders           -        purchase_orders:read  yes       yes      yes     yes     yes     org      org
countPurchaseOrders          -        purchase_orders:read  yes       yes       yes     yes     yes     org      org
exportPurchaseOrders         -        purchase_orders:read  yes       yes       yes     yes     yes     org      org
getPurchaseOrder             ordered  purchase_orders:read  yes/404   yes      yes     yes     yes     org      org
updatePurchaseOrder          ordered  purchase_orders:write no/404    no       yes     yes     no      org      org
updatePurchaseOrderLine      ordered  purchase_orders:write no/404    no       yes     yes     no      org      org
issuePurchaseOrder           ordered  purchase_orders:write no/404    no       yes     yes     no      org      org
cancelPurchaseOrder          ordered  purchase_orders:write no/404    no       yes     yes     no      org      org
closePurchaseOrder           issued   purchase_orders:write no/404    no       yes     yes     no      org      org
getPurchaseOrderDocument     issued   purchase_orders:read  yes/404   yes      yes     yes     yes     org      org
getElectronicPurchaseOrder   issued   purchase_orders:read  yes/404   yes      yes     yes     yes     org      org
listPurchaseOrderComments    ordered  purchase_orders:read  yes/404   yes      yes     yes     yes     org      org
addPurchaseOrderComment      ordered  purchase_orders:write yes/404   yes      yes     yes     no      org      org
updatePurchaseOrderComment   remark   purchase_orders:write yes/404   aut      yes/aut yes/aut no      org      org
deletePurchaseOrderComment   remark   purchase_orders:write yes/404   aut      yes/aut yes     no      org      org
listPurchaseOrderFiles       ordered  purchase_orders:read  yes/404   yes      yes     yes     yes     org      org
addPurchaseOrderFile         ordered  purchase_orders:write yes/404   yes      yes     yes     no      org      org
getPurchaseOrderFile         drawing  purchase_orders:read  yes/404   yes      yes     yes     yes     org      org
deletePurchaseOrderFile      drawing  purchase_orders:write yes/404   upl      yes/upl yes     no      org      org
getPurchaseOrderTimeline     issued   purchase_orders:read  yes/404   yes      yes     yes     yes     org      org
listPurchaseOrderHistory     issued   purchase_orders:read  yes/404   yes      yes     yes     yes     org      org

deliverPurchaseOrder         issued   deliveries:write      no/404    no       yes     yes     no      org      org
listPurchaseOrderDeliveries  issued   purchase_orders:read  no        no       yes     yes     yes     org      org
listDeliveries               -        purchase_orders:read  no        no       yes     yes     yes     org      org
getDelivery                  mailed   purchase_orders:read  no        no       yes     yes     yes     org      org
retryDelivery                unsent   deliveries:write      no        no       yes     yes     no      org      org
cancelDelivery               waiting  deliveries:write      no        no       yes     yes     no      org      org
markDeliveryBounced          mailed   deliveries:write      no        no       yes     yes     no      org      org

getFilingSettings            -        organisations:write   no        no       no      yes     no      org      org
checkFiling                  -        organisations:write   no        no       no      yes     no      org      org
listFilings                  -        purchase_orders:read  no        no       yes     yes     yes     org      org
retryFiling                  filing   organisations:write   no        no       no      yes     no      org      org

listNotifications            -        -                     yes       yes      yes     yes     yes     org      org
getNotificationCount         -        -                     yes       yes      yes     yes     yes     org      org
readNotification             told     -                     yes/404   yes/404  yes/404 yes/404 yes/404 org      org
readAllNotifications         -        -                     yes       yes      yes     yes     yes     org      org
getNotificationPreferences   -        -                     yes       yes      yes     yes     yes     org      org
updateNotificationPreferences -       -                     yes       yes      yes     yes     yes     org      org

listAuditEvents              -        audit:read            no        no       no      yes     yes     org      org
getSeal                      -        audit:read            no        no       no      yes     yes     org      org
listEvents                   -        events:read           no        no       no      yes     yes     org      org

createWebhookEndpoint        -        -                     no        no       no      yes     no      org      org
listWebhookEndpoints         -        -                     no        no       no      yes     no      org      org
getWebhookEndpoint           endpoint -                     no        no       no      yes     no      org      org
updateWebhookEndpoint        endpoint -                     no        no       no      yes     no      org      org
deleteWebhookEndpoint        endpoint -                     no        no       no      yes     no      org      org
rotateWebhookSecret          endpoint -                     no        no       no      yes     no      org      org
testWebhookEndpoint          endpoint -                     no        no       no      yes     no      org      org
replayWebhookEvents          endpoint -                     no        no       no      yes     no      org      org
listWebhookDeliveries        endpoint -                     no        no       no      yes     no      org      org
getWebhookDelivery           delivery -                     no        no       no      yes     no      org      org
retryWebhookDelivery         delivery -                     no        no       no      yes     no      org      org
listWebhookEndpointHistory   endpoint -                     no        no       no      yes     no      org      org

getPorfStateMachine          -        porfs:read            yes       yes      yes     yes     yes     yes      yes
getPurchaseOrderStateMachine -        porfs:read            yes       yes      yes     yes     yes     yes      yes
"""

_OUTCOMES = {
    (403, "missing_role"): "no",
    (403, "not_requester"): "req",
    (403, "no_organisation"): "org",
    (403, "operators_only"): "ops",
    (403, "not_author"): "aut",
    (403, "not_uploader"): "upl",
    (409, "already_member"): "409",
    (409, "step_not_removable"): "409",
}


@dataclass(frozen=True)
class Row:
    """One row of the matrix; with the `scope` None API keys are not accepted."""

    on: str
    scope: str | None
    cells: dict[str, str]


def _parsed(text: str) -> dict[str, Row]:
    head, *lines = [line.split() for line in text.splitlines() if line]
    assert head == ["operation", "on", "scope", *COLUMNS]
    return {
        name: Row(on, None if scope == "-" else scope, dict(zip(COLUMNS, cells, strict=True)))
        for name, on, scope, *cells in lines
    }


MATRIX = _parsed(_MATRIX)

# These operations change the rights of the caller, or end their session.
USED_UP_CALLERS = {"revokeAllSessions", "revokeCurrentSession", "createOrganisation"}
# These operations delete or use up their entity, or need one whose supplier no other test has renamed since.
USED_UP_THINGS = {
    *("revokeSession", "revokeApiKey", "deletePorf", "deletePorfLine", "deleteWebhookEndpoint"),
    *("deleteExternalReference", "deleteLogo", "deleteExchangeRate", "revokeApprovalDelegation"),
    *("convertPorf", "createPurchaseOrder", "issuePurchaseOrder", "retryFiling"),
    *("deletePorfComment", "deletePurchaseOrderComment", "deletePorfFile", "deletePurchaseOrderFile"),
}
# Those that have no copy: they are made, or looked up, for each request.
POLICIES = {"no_draft", "policy", "published"}
REMADE = {"logo", *POLICIES}
# Parts of the organisation as a party, of its structure, and its policies.
OF_ORGANISATION = {"contact", "address", "reference", "cost_centre", "category", "team", "group", "rate", "delegation"}
OF_ORGANISATION |= REMADE
# Deliveries of orders, by the status that they have.
DELIVERIES = {"mailed": "sent", "unsent": "failed", "waiting": "queued"}
# Comments and files, by what they are about, its path and the parameter that names it.
SAID = {
    **dict.fromkeys(("comment", "file"), ("approved", "porfs", "porf_id")),
    **dict.fromkeys(("remark", "drawing"), ("ordered", "purchase-orders", "order_id")),
}
# Entities that only some roles can own: others may not raise requests.
REQUESTS = {"draft", "pending", "rejected", "approved", "ordered", "issued", "asked", *SAID}
RAISERS = {"requester", "buyer", "admin"}
# Entities of the organisation, without an owner.
SHARED = {"-", "company", "supplier", "contact", "address", "reference", "logo", "invited"}
SHARED |= REMADE
SHARED |= {
    "foreign",
    "cost_centre",
    "category",
    "team",
    "group",
    "filing",
    "endpoint",
    "delivery",
    "rate",
    "delegation",
}
SHARED |= set(DELIVERIES)


@dataclass(frozen=True)
class Route:
    """The request for an operation."""

    method: str
    path: str
    takes_dry_run: bool


def routes_of(app: FastAPI) -> dict[str, Route]:
    return {
        operation["operationId"]: Route(
            method, path, any(item["name"] == "dry_run" for item in operation["parameters"])
        )
        for method, path, operation in operations(app)
    }


@dataclass
class World:
    """An organisation in which every operation is possible; entities are created on first use.

    `inviting` is another organisation, which invites members of this one. `all_roles` has all roles and is an operator:
    refusals have other reasons than roles. `other` is the owner of the entities of other members.
    """

    organisation: TestOrganisation
    inviting: TestOrganisation
    routes: dict[str, Route]
    callers: dict[str, Member]
    all_roles: Member
    other: Member
    _things: dict[tuple[str, int], Ids] = field(default_factory=dict)
    _keys: dict[frozenset[Scope], Member] = field(default_factory=dict)

    @property
    def app(self) -> FastAPI:
        return self.organisation.app

    async def newcomer(self, column: str) -> Member:
        """Another member with the rights of this column."""
        if column in {"stranger", "operator"}:
            return await new_member(self.app, self.organisation.client, None, [], is_operator=column == "operator")
        return await self.organisation.member(Role(column))

    async def again(self, member: Member) -> Member:
        """The member with another session."""
        return await with_new_session(self.app, member)

    async def key(self, *scopes: Scope) -> Member:
        """The member with all roles, by a key with these scopes."""
        wanted = frozenset(scopes)
        if wanted not in self._keys:
            self._keys[wanted] = await self.new_key(self.all_roles, *scopes)
        return self._keys[wanted]

    async def new_key(self, owner: Member, *scopes: Scope) -> Member:
        body = {"name": "Script", "scopes": list(scopes)}
        return replace(owner, token=(await created(owner.post("/api-keys", json=body))).json()["key"])

    async def thing(self, on: str, owner: Member, *, fresh: bool = False) -> Ids:
        """The path parameters of an entity of this kind that the owner has."""
        if fresh or on in REMADE:
            return await self._made(on, owner)
        if (on, owner.user_id) not in self._things:
            self._things[on, owner.user_id] = await self._made(on, owner)
        return self._things[on, owner.user_id]

    async def alter(self, entity: type[Any], column: InstrumentedAttribute[int], row_id: int, **values: Any) -> None:
        """Change a row directly, to test one effect that the API only has together with others."""
        async with self.app.state.database.sessions.begin() as session:
            await session.execute(update(entity).where(column == row_id).values(**values))

    async def possible(self, name: str) -> Ids:
        """An entity on which the member with all roles may perform this: their own, except for decisions."""
        row = MATRIX[name]
        # A key reactivates only requesters.
        is_others = row.on in SHARED or row.scope == Scope.PORFS_APPROVE or name == "activateUser"
        owner = self.other if is_others else self.all_roles
        return await self.thing(row.on, owner, fresh=name in USED_UP_THINGS)

    async def _made(self, on: str, owner: Member) -> Ids:  # noqa: PLR0912 - a table
        theirs = replace(self.organisation, requester=owner)
        if on in OF_ORGANISATION:
            return await self._of_organisation(on)
        if on in SAID:
            about, kind, name = SAID[on]
            document = (await self.thing(about, owner))[name]
            return {name: document, **await said_by(owner, on, f"/{kind}/{document}")}
        if on in {"asked", "foreign"}:
            return await (self._asked(theirs) if on == "asked" else self.thing("pending", self.other))
        match on:
            case "-":
                return {}
            case "company":
                return {"organisation_id": self.organisation.organisation_id}
            case "supplier":
                return {"supplier_id": self.organisation.supplier_id}
            case "user":
                return {"user_id": owner.user_id}
            case "invited" | "mine":
                is_mine = on == "mine"
                email = owner.email if is_mine else f"invited{next(_serial)}@matrix.example"
                return await self._invitation(self.inviting if is_mine else self.organisation, email)
            case "session":
                shown = await ok((await self.again(owner)).get("/sessions/current"))
                return {"session_id": shown.json()["id"]}
            case "key":
                made = await self.new_key(owner, Scope.PORFS_READ)
                return {"key_id": int(made.token.split("_")[1])}
            case "filing" | "endpoint" | "delivery" | "mailed" | "unsent" | "waiting" | "told":
                return await self._sent_out(on, owner)
            case "ordered":
                order = (await theirs.ordered()).json()
                return {"order_id": order["id"], "line_id": order["lines"][0]["id"]}
            case "issued":
                return {"order_id": (await theirs.issued()).json()["id"]}
        porf = (await theirs.in_status(on)).json()
        return {"porf_id": porf["id"], "line_id": porf["lines"][0]["id"]}

    async def _sent_out(self, on: str, owner: Member) -> Ids:
        """Something that leaves the house, or where it goes."""
        if on == "told":
            is_member = owner not in (self.callers["stranger"], self.callers["operator"])
            return {"notification_id": await notification_for(self.organisation, owner if is_member else self.other)}
        if on in DELIVERIES:
            return {"order_delivery_id": await delivery_in(self.organisation, DELIVERIES[on])}
        if on == "filing":
            return {"filing_id": await held_filing(self.organisation)}
        if on == "endpoint":
            made = await created(self.organisation.admin.post("/webhook-endpoints", json=WEBHOOK))
            return {"endpoint_id": made.json()["id"]}
        endpoint = await self.thing("endpoint", owner)
        path = f"/webhook-endpoints/{endpoint['endpoint_id']}/test"
        return {**endpoint, "delivery_id": (await ok(self.organisation.admin.post(path), 202)).json()["id"]}

    async def _asked(self, theirs: TestOrganisation) -> Ids:
        """A pending request whose requester has added the approver, and another approver."""
        porf_id = (await theirs.pending()).json()["id"]
        body = {"user_id": theirs.approver.user_id}
        await ok(theirs.requester.post(f"/porfs/{porf_id}/add-approver", etag="*", json=body))
        run = (await ok(theirs.requester.get(f"/porfs/{porf_id}/approval"))).json()
        (step_id,) = (step["id"] for step in run["steps"] if step["source"] == "added")
        return {"porf_id": porf_id, "step_id": step_id, "another_id": (await theirs.member(Role.APPROVER)).user_id}

    async def _policy(self, on: str) -> Ids:
        """The draft of a policy, or the published one; `no_draft` is that there is no draft."""
        admin = self.organisation.admin
        for draft in (await ok(admin.get("/approval-policies?status=draft"))).json()["items"]:
            await ok(admin.delete(f"/approval-policies/{draft['id']}", etag="*"), 204)
        if on == "no_draft":
            return {}
        policy = (await created(admin.post("/approval-policies", json={"rules": [RULE]}))).json()
        if on == "published":
            await ok(admin.post(f"/approval-policies/{policy['id']}/publish", etag="*"))
        return {"policy_id": policy["id"], "rule_id": policy["rules"][0]["id"]}

    async def _of_organisation(self, on: str) -> Ids:
        """Something of the organisation as a party, or of its structure."""
        if on in POLICIES:
            return await self._policy(on)
        if (kind := "approval_group" if on == "group" else on) in STRUCTURE:
            entry = named(kind, f"Matrix {next(_serial)}")
            made = await created(self.organisation.admin.post(STRUCTURE[kind], json=entry))
            return {f"{kind}_id": made.json()["id"]}
        supplier_id, number = self.organisation.supplier_id, next(_serial)
        buyer, admin = self.organisation.buyer, self.organisation.admin
        match on:
            case "contact":
                body: Json = {"email": f"contact{number}@supplier.example"}
                made = await created(buyer.post(f"/suppliers/{supplier_id}/contacts", etag="*", json=body))
                return {"supplier_id": supplier_id, "contact_id": made.json()["id"]}
            case "address":
                made = await created(buyer.post("/addresses", json={"kind": "delivery", "name": "Warehouse"}))
                return {"address_id": made.json()["id"]}
            case "reference":
                body = {"entity": "supplier", "entity_id": supplier_id, "system": "sap", "external_id": f"ref {number}"}
                made = await created(buyer.put("/external-references", json=body))
                return {"reference_id": made.json()["id"]}
            case "rate":
                made = await admin.post("/exchange-rates", json=_rate(number))
                return {"rate_id": made.json()["id"]}
            case "delegation":
                made = await created(admin.post("/approval-delegations", json=self._delegation()))
                return {"delegation_id": made.json()["id"]}
        await ok(admin.put("/organisations/current/logo", etag="*", files={"file": ("logo.png", PNG)}))
        return {}

    def _delegation(self) -> Json:
        """A delegation by the approver to the buyer."""
        approver, buyer = self.organisation.approver, self.organisation.buyer
        ends_at = (datetime.now(UTC) + timedelta(2)).isoformat()
        return {"delegator_id": approver.user_id, "delegate_id": buyer.user_id, "ends_at": ends_at}

    async def _invitation(self, organisation: TestOrganisation, email: str) -> Ids:
        made = await created(organisation.admin.post("/invitations", json={"email": email}))
        return {"invitation_id": made.json()["id"]}

    def body(self, name: str, ids: Ids) -> Json | None:
        """A body that the operation accepts, as JSON."""
        number = next(_serial)
        bodies: dict[str, Json] = {
            "readAllNotifications": {"before": "2026-01-01T00:00:00Z"},
            "updateNotificationPreferences": {"decided": {"email": "off"}},
            "createApiKey": {"name": "Script", "scopes": ["porfs:read"]},
            "createInvitation": {"email": f"invited{number}@matrix.example"},
            "acceptInvitation": {"leave": True},
            "createOrganisation": {"name": "Founded"},
            "updateCurrentOrganisation": {"name": "Company"},
            "createWebhookEndpoint": WEBHOOK,
            "createSupplier": {"name": f"Supplier {number}"},
            "addSupplierContact": {"email": f"contact{number}@supplier.example"},
            "createAddress": {"kind": "delivery", "name": "Warehouse"},
            "createCostCentre": named("cost_centre", f"Cost centre {number}"),
            "createCategory": named("category", f"Category {number}"),
            "createTeam": named("team", f"Team {number}"),
            "createApprovalGroup": named("approval_group", f"Group {number}"),
            "createApprovalPolicy": {"rules": [RULE]},
            "simulateApprovalPolicy": {"requester_id": self.other.user_id},
            "putExternalReference": {
                "entity": "supplier",
                "entity_id": self.organisation.supplier_id,
                "system": "sap",
                "external_id": f"matrix {number}",
            },
            "putExchangeRate": _rate(number),
            "createApprovalDelegation": self._delegation(),
            "createPorf": {"title": "Lamps"},
            "createPurchaseOrder": {"porf_ids": [ids.get("porf_id")]},
            "reassignPorf": {"requester_id": self.other.user_id},
            "addPorfApprover": {"user_id": self.organisation.approver.user_id},
            "removePorfApprover": {"step_id": ids.get("step_id")},
            "reassignPorfStep": {
                "step_id": ids.get("step_id"),
                "replaced_id": self.organisation.approver.user_id,
                "user_id": ids.get("another_id"),
            },
        }
        return bodies.get(name, BY_PATH.get(name))

    def request(self, name: str, ids: Ids) -> tuple[str, str, Json]:
        """Method, path and options of a request that is accepted; a dry run if possible."""
        route = self.routes[name]
        options: Json = {"etag": "*"}
        if route.takes_dry_run:
            options["params"] = {"dry_run": "true"}
        if name in REQUIRED_QUERY:
            options["params"] = options.get("params", {}) | REQUIRED_QUERY[name]
        if name.startswith("count"):
            options["params"] = {"group_by": "is_active" if name in {"countSuppliers", "countUsers"} else "status"}
        if name == "importPorf":
            options["data"] = {"title": "Imported"}
            options["files"] = {"file": ("lines.csv", b"description,quantity,unit_price\nLamp,1,2\n")}
        elif name == "importExchangeRates":
            options["files"] = {"file": ("rates.csv", b"currency,rate_date,rate\nCHF,2026-03-02,0.93\n")}
        elif name == "setLogo":
            options["files"] = {"file": ("logo.png", PNG)}
        elif name in UPLOADS:
            options |= content_of(name)
        elif (body := self.body(name, ids)) is not None:
            options["json"] = body
        return route.method, route.path.removeprefix(PREFIX).format_map(ids), options

    async def ask(self, who: Member, name: str, ids: Ids) -> httpx.Response:
        method, path, options = self.request(name, ids)
        return await who.request(method, path, **options)


async def said_by(member: Member, on: str, document: str) -> Ids:
    """A comment or a file of the member on the document at this path."""
    if on in {"file", "drawing"}:
        return {"file_id": (await uploaded(member, document))["id"]}
    comment = await created(member.post(f"{document}/comments", json={"text": "Hello"}))
    return {"comment_id": comment.json()["id"]}


def _rate(number: int) -> Json:
    """A rate of a currency that no document has, from a day of its own on."""
    return {"currency": "CHF", "rate_date": str(date(2020, 1, 1) + timedelta(number)), "rate": "0.93"}


async def new_world(app: FastAPI, client: httpx.AsyncClient) -> World:
    organisation = await new_organisation(app, client, allow_override=True)
    await connect(organisation)
    organisation_id = organisation.organisation_id
    members = {role: getattr(organisation, role) for role in Role}
    strangers = {
        "stranger": await new_member(app, client, None, []),
        "operator": await new_member(app, client, None, [], is_operator=True),
    }
    all_roles = await new_member(app, client, organisation_id, list(Role), is_operator=True)
    other = await organisation.member(Role.REQUESTER)
    return World(
        organisation, await new_organisation(app, client), routes_of(app), members | strangers, all_roles, other
    )


def outcome(response: httpx.Response) -> str:
    """The result of a request as the matrix names it; otherwise its status and code."""
    if response.is_success:
        return "yes"
    code = response.json()["code"]
    if response.status_code == 404 and code != "not_found":
        return "404"
    return _OUTCOMES.get((response.status_code, code), f"{response.status_code} {code}")
