import { api, once, type Schemas } from "../api";
import { form } from "../attempt";
import { h, when, words } from "../dom";
import { go } from "../navigation";
import { ensure, unwrap } from "../problems";
import { look } from "../unread";
import { pages } from "./pages";

type Notification = Schemas["NotificationRead"];
const HEAD = ["About", "What", "By", "When", ""];
const WHAT: Record<Notification["kind"], string> = {
  approval_needed: "waits for your approval",
  approval_reminder: "still waits for your approval",
  approval_escalated: "was not decided in time and waits for your approval",
  decided: "was decided",
  mentioned: "has a comment that mentions you",
  commented: "has a new comment",
  order_issued: "was issued",
  delivery_failed: "could not be sent",
  no_approver_left: "has nobody left who may approve it",
  delegated_to_you: "were delegated to you",
};

/** What one was told, the newest first. */
export async function notificationsView(): Promise<Node[]> {
  let newest: string | null = null;
  const list = await pages("The newest first", HEAD, page, (item) => {
    newest ??= item.created_at;
    return row(item);
  });
  return [h("h1", {}, "Notifications"), ...(newest === null ? [] : [readAll(newest)]), ...list];
}

async function page(cursor: string | null): Promise<Schemas["NotificationPage"]> {
  const query = { limit: 20, ...(cursor !== null && { cursor }) };
  return unwrap(await api.GET("/api/v1/notifications", { params: { query } }));
}

/** Up to the newest one that is shown: what came meanwhile was not seen. */
function readAll(before: string): Node {
  const header = once();
  return form(
    async () => {
      ensure(await api.POST("/api/v1/notifications/read-all", { params: { header }, body: { before } }));
      go(location.hash);
    },
    h("button", {}, "Mark all as read"),
  );
}

const row = (item: Notification): (Node | string)[] => [
  about(item),
  item.data.decision ? `was ${item.data.decision}` : (WHAT[item.kind] ?? words(item.kind)),
  item.actor_name ?? "",
  when(item.created_at),
  item.read_at ? "read" : item.resolved_at ? "done" : markRead(item),
];

/** Who opens what a notification is about has read it; if that cannot be noted, it just stays unread. */
function about(item: Notification): Node | string {
  // There is no page of delegations.
  if (item.entity === "approval_delegation") return `Approvals of ${item.title}`;
  const href = `#/${item.entity === "porf" ? "porf" : "order"}/${item.entity_id}`;
  const link = h("a", { href }, `${item.number ?? "Draft order"} ${item.title}`);
  if (item.read_at === null) link.onclick = () => void read(item).catch(() => {});
  return link;
}

const markRead = (item: Notification): Node =>
  form(
    async () => {
      await read(item);
      go(location.hash);
    },
    h("button", {}, "Mark as read"),
  );

async function read({ id }: Notification): Promise<void> {
  const params = { path: { notification_id: id }, header: once() };
  ensure(await api.POST("/api/v1/notifications/{notification_id}/read", { params }));
  await look();
}
