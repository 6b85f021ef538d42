import { api, type Schemas } from "../api";
import { h, link, status, when } from "../dom";
import { unwrap } from "../problems";
import { pages } from "./pages";

const HEAD = ["Number", "Title", "Requester", "Status", "Total", "Raised"];

/** The requests that one may see, or those that wait for one's decision. */
export async function porfsView(filter?: string): Promise<Node[]> {
  const waiting = filter === "waiting";
  return [
    h("h1", {}, "Requests"),
    h(
      "p",
      { className: "row" },
      link("#/porfs", "All"),
      link("#/porfs/waiting", "Waiting for me"),
      link("#/raise", "Raise a request"),
    ),
    ...(await pages(waiting ? "Waiting for me" : "Requests", HEAD, (cursor) => page(waiting, cursor), row)),
  ];
}

async function page(waiting: boolean, cursor: string | null): Promise<Schemas["PorfPage"]> {
  const query = { limit: 20, ...(waiting && { waiting_for_me: true }), ...(cursor !== null && { cursor }) };
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
