import { api, changing, type Schemas } from "../api";
import { form } from "../attempt";
import { checkbox, checked, facts, h, when } from "../dom";
import { go } from "../navigation";
import { ensure, unwrap } from "../problems";

/** The open invitations of one's address, each to accept or decline. */
export async function myInvitations(user: Schemas["Me"]): Promise<Node[]> {
  const { items } = unwrap(await api.GET("/api/v1/users/me/invitations"));
  const isMember = items.length > 0 && user.organisation_id !== null;
  const present = isMember ? unwrap(await api.GET("/api/v1/organisations/current")).name : null;
  return items.map((invitation) => decide(invitation, present));
}

/** `present` is the organisation that accepting means leaving. */
function decide(invitation: Schemas["MyInvitation"], present: string | null): Node {
  const params = { path: { invitation_id: invitation.id }, header: changing(invitation) };
  return h(
    "section",
    { className: "invitation" },
    h("h2", {}, `${invitation.organisation.name} invites you`),
    facts({
      "Invited by": invitation.invited_by,
      Roles: invitation.roles.join(", "),
      "Approval limit": invitation.approval_limit,
      "Open until": when(invitation.expires_at),
    }),
    form(
      async (form, pressed) => {
        const path = "/api/v1/users/me/invitations/{invitation_id}";
        if (pressed === "decline") ensure(await api.POST(`${path}/decline`, { params }));
        else ensure(await api.POST(`${path}/accept`, { params, body: { leave: checked(form, "/leave") } }));
        go("#/porfs");
      },
      ...(present === null ? [] : leaving(present)),
      h(
        "p",
        { className: "row" },
        h("button", { value: "accept" }, "Accept"),
        h("button", { value: "decline", formNoValidate: true }, "Decline"),
      ),
    ),
  );
}

/** A required box, so that nobody leaves by accident: one is in one organisation at a time. */
const leaving = (present: string): Node[] => [
  h("p", {}, `Accepting means leaving ${present}: you no longer see its requests and orders, and your API keys end.`),
  checkbox("/leave", `Leave ${present}`),
];
