import { api, type Schemas } from "../api";
import { h, link, status, when } from "../dom";
import { unwrap } from "../problems";
import { pages } from "./pages";

const HEAD = ["Number", "Title", "Requester", "Status", "Total", "Raised"];

/** The requests that one may see. */
export async function porfsView(): Promise<Node[]> {
  return [
    h("h1", {}, "Requests"),
    h("p", {}, link("#/raise", "Raise a request")),
    ...(await pages("Requests", HEAD, page, row)),
  ];
}

async function page(cursor: string | null): Promise<Schemas["PorfPage"]> {
  const query = { limit: 20, ...(cursor !== null && { cursor }) };
  return unwrap(await api.GET("/api/v1/porfs", { params: { query } }));
}

const row = (porf: Schemas["PorfSummary"]): (Node | string)[] => [
  link(`#/porf/${porf.id}`, porf.number),
  porf.title,
  porf.requester_name,
  status(porf.status),
  `${porf.total} ${porf.currency}`,
  when(porf.created_at),
];
