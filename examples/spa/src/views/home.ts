import type { Schemas } from "../api";
import { myInvitations } from "./my-invitations";
import { foundOrganisationView } from "./organisation";
import { porfsView } from "./porfs";

/** The first view after signing in: invitations that wait for an answer, then the requests of one's organisation. */
export async function homeView(user: Schemas["Me"]): Promise<Node[]> {
  const rest = user.organisation_id === null ? foundOrganisationView() : porfsView();
  return (await Promise.all([myInvitations(user), rest])).flat();
}
