import { api, changing, once, type Schemas } from "../api";
import { form } from "../attempt";
import { field, h, input, select, value, when } from "../dom";
import { go } from "../navigation";
import { ensure, unwrap } from "../problems";
import { pages } from "./pages";

type Invitation = Schemas["InvitationRead"];
type Role = Invitation["roles"][number];
const ROLES = ["requester", "approver", "buyer", "auditor", "admin"] satisfies Role[];
const HEAD = ["Address", "Roles", "Invited by", "Open until", ""];

/** For admins: inviting somebody by their address, and the invitations that nobody has answered yet. */
export async function invitationsView(): Promise<Node[]> {
  return [h("h1", {}, "Invitations"), invite(), ...(await pages("Open invitations", HEAD, open, row))];
}

function invite(): Node {
  const header = once();
  return form(
    async (form) => {
      const body = {
        email: value(form, "/email"),
        roles: [value(form, "/roles") as Role],
        approval_limit: value(form, "/approval_limit") || null,
      };
      ensure(await api.POST("/api/v1/invitations", { params: { header }, body }));
      go("#/invitations");
    },
    h(
      "p",
      { className: "row" },
      field("E-mail address", input("/email", { type: "email" })),
      field(
        "Role",
        select(
          "/roles",
          ROLES.map((role) => [role, role]),
        ),
      ),
      field("Approval limit", input("/approval_limit", { inputMode: "decimal", placeholder: "none", required: false })),
      h("button", {}, "Invite"),
    ),
  );
}

async function open(cursor: string | null): Promise<Schemas["InvitationPage"]> {
  const query = { status: ["open" as const], limit: 20, ...(cursor !== null && { cursor }) };
  return unwrap(await api.GET("/api/v1/invitations", { params: { query } }));
}

const row = (invitation: Invitation): (Node | string)[] => [
  invitation.email,
  invitation.roles.join(", "),
  invitation.invited_by.name,
  when(invitation.expires_at),
  revoke(invitation),
];

function revoke(invitation: Invitation): Node {
  const params = { path: { invitation_id: invitation.id }, header: changing(invitation) };
  return form(
    async () => {
      ensure(await api.POST("/api/v1/invitations/{invitation_id}/revoke", { params }));
      go("#/invitations");
    },
    h("button", {}, "Revoke"),
  );
}
