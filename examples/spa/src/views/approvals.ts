import { api, type Schemas } from "../api";
import { h, link, when } from "../dom";
import { unwrap } from "../problems";
import { pages } from "./pages";

const HEAD = ["Request", "Title", "Requester", "Total", "Rule", "On behalf of", "Since"];

/** What waits for one's decision, or for somebody's who has delegated to one; one decides at the request. */
export async function approvalsView(): Promise<Node[]> {
  return [h("h1", {}, "Waiting for me"), ...(await pages("The oldest first", HEAD, page, row))];
}

async function page(cursor: string | null): Promise<Schemas["InboxPage"]> {
  const query = { limit: 20, ...(cursor !== null && { cursor }) };
  return unwrap(await api.GET("/api/v1/approvals", { params: { query } }));
}

const row = ({ porf, ...step }: Schemas["InboxItemRead"]): (Node | string)[] => [
  link(`#/porf/${porf.id}`, porf.number),
  porf.title,
  porf.requester_name,
  `${porf.total} ${porf.currency}`,
  step.step_name,
  step.on_behalf_of_name ?? "",
  step.activated_at === null ? "" : when(step.activated_at),
];
