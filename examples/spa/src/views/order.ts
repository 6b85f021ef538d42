import { api, once, type Schemas } from "../api";
import { form } from "../attempt";
import { addressOf, facts, field, h, input, status, table, value, when, words } from "../dom";
import { filesOfOrder } from "../files";
import { go } from "../navigation";
import { ensure, unwrap, type Versioned, versioned } from "../problems";
import { actionButtons } from "./actions";
import { filesView } from "./files";

type Order = Schemas["PurchaseOrderRead"];
type Delivery = Schemas["DeliveryRead"];
const ACTIONS = ["issue", "cancel", "close", "deliver"] as const;
const POLL_MILLISECONDS = 1000;
type Ending = Exclude<(typeof ACTIONS)[number], "issue" | "deliver">;

/** One order with its document: a preview of a draft, and of a cancelled order also the one of its issue. */
export async function orderView(user: Schemas["Me"], id: string): Promise<Node[]> {
  const path = { order_id: Number(id) };
  const order = versioned(await api.GET("/api/v1/purchase-orders/{order_id}", { params: { path } }));
  return [
    h("h1", {}, `${order.body.number ?? "Draft order"} `, status(order.body.status)),
    about(order.body),
    ...notices(order.body),
    lines(order.body),
    decide(order),
    ...(await filesView(user, filesOfOrder(order.body.id), order.body.allowed_actions["edit"]?.allowed === true)),
    ...(await deliveries(order.body)),
    ...(order.body.is_partial ? [] : await documents(order.body)),
  ];
}

const about = (order: Order): Node =>
  facts({
    Supplier: order.supplier_name,
    Buyer: order.created_by_name,
    Issued: order.issued_at && when(order.issued_at),
    "Cost centres": order.cost_centres.join(", ") || null,
    Delivery: order.delivery_date,
    "Read by the supplier": order.delivery_status === "viewed" ? "yes" : null,
    Total: `${order.total} ${order.currency}`,
  });

/** What needs attention, and that there are lines which the reader does not see. */
const notices = (order: Order): Node[] => [
  ...order.warnings.map((warning) => h("p", {}, `Note: ${warning.detail}.`)),
  ...(order.is_partial ? [h("p", {}, "This is the part of the order that comes from your requests.")] : []),
];

const lines = (order: Order): Node =>
  table(
    "Lines",
    ["Description", "Quantity", "Unit price", "Net"],
    order.lines.map((line) => [line.description, line.quantity, line.unit_price, line.net]),
  );

function decide({ body: order, etag }: Versioned<Order>): Node {
  const params = { path: { order_id: order.id }, header: { "If-Match": etag, ...once() } };
  return form(
    async (form, pressed) => {
      const body = { comment: value(form, "/comment") || null };
      ensure(
        pressed === "issue"
          ? await api.POST("/api/v1/purchase-orders/{order_id}/issue", { params })
          : pressed === "deliver"
          ? await api.POST("/api/v1/purchase-orders/{order_id}/deliveries", { params, body: { message: body.comment } })
          : await api.POST(`/api/v1/purchase-orders/{order_id}/${pressed as Ending}`, { params, body }),
      );
      go(`#/order/${order.id}`);
    },
    field("Comment", input("/comment", { required: false })),
    actionButtons(ACTIONS, order.allowed_actions),
  );
}

/** The order's way to the supplier, for those who may see it. */
async function deliveries(order: Order): Promise<Node[]> {
  if (order.delivery_status === "not_sent") return [];
  const section = h("section", {}, h("p", {}, `To the supplier: ${words(order.delivery_status)}`));
  await showDeliveries(section, order);
  return [section];
}

/** A mail is sent a moment after it was asked for: shows its status again until it is. */
async function showDeliveries(section: HTMLElement, order: Order): Promise<void> {
  const params = { path: { order_id: order.id } };
  const answer = await api.GET("/api/v1/purchase-orders/{order_id}/deliveries", { params });
  if (answer.response.status === 403) return;
  const { items } = unwrap(answer);
  const rows = items.map((it) => [when(it.queued_at), it.to_addresses.join(", "), status(it.status), problem(it)]);
  section.replaceChildren(table("Deliveries", ["When", "To", "Status", "Problem"], rows));
  if (!items.some((it) => it.status === "queued" || it.status === "sending")) return;
  setTimeout(() => {
    if (section.isConnected) void showDeliveries(section, order);
  }, POLL_MILLISECONDS);
}

const problem = (delivery: Delivery): string => [delivery.error_code, delivery.error_detail].filter(Boolean).join(": ");

async function documents(order: Order): Promise<Node[]> {
  if (order.status === "draft") return pdf(order, "preview", { preview: true });
  if (order.number === null) return []; // cancelled as a draft
  const current = await pdf(order, "document", {});
  if (order.status !== "cancelled") return current;
  return [...current, ...(await pdf(order, "document as issued", { as: "issued" }))];
}

/** The document comes with the session, so it cannot be a plain link: the browser shows it from memory. */
async function pdf(order: Order, name: string, query: { preview?: boolean; as?: "issued" }): Promise<Node[]> {
  const path = { order_id: order.id };
  const answer = await api.GET("/api/v1/purchase-orders/{order_id}/document.pdf", {
    params: { path, query },
    parseAs: "blob",
  });
  const src = addressOf(unwrap(answer));
  const number = order.number ?? `draft-${order.id}`;
  return [
    h("p", {}, h("a", { href: src, download: `${number}.pdf` }, `Download the ${name}`)),
    h("iframe", { src, title: `The ${name} of ${number}` }),
  ];
}
