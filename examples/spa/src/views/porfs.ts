import { api, type Schemas } from "../api";
import { attempt } from "../attempt";
import { h, link, status, table, when } from "../dom";
import { unwrap } from "../problems";

const HEAD = ["Number", "Title", "Requester", "Status", "Total", "Raised"];

/** The requests that one may see, or those that wait for one's decision. */
export async function porfsView(filter?: string): Promise<Node[]> {
  const waiting = filter === "waiting";
  const first = await page(waiting);
  const list = table(waiting ? "Waiting for me" : "Requests", HEAD, first.items.map(row));
  const more = h("button", { hidden: !first.has_more }, "Show more");
  let cursor = first.next_cursor;
  more.onclick = () =>
    attempt(async () => {
      const next = await page(waiting, cursor);
      list.append(...table("", HEAD, next.items.map(row)).querySelectorAll("tbody"));
      cursor = next.next_cursor;
      more.hidden = !next.has_more;
    });
  return [
    h("h1", {}, "Requests"),
    h(
      "p",
      { className: "row" },
      link("#/porfs", "All"),
      link("#/porfs/waiting", "Waiting for me"),
      link("#/raise", "Raise a request"),
    ),
    list,
    more,
  ];
}

async function page(waiting: boolean, cursor: string | null = null): Promise<Schemas["PorfPage"]> {
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
