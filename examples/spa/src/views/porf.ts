import { api, once, type Schemas } from "../api";
import { form } from "../attempt";
import { facts, field, h, input, link, select, status, table, value, when } from "../dom";
import { filesOfPorf } from "../files";
import { go } from "../navigation";
import { ensure, unwrap, type Versioned, versioned } from "../problems";
import { actionButtons } from "./actions";
import { approval } from "./approval";
import { filesView } from "./files";

type Porf = Schemas["PorfRead"];
const ACTIONS = ["submit", "recall", "approve", "return", "reject", "revise", "cancel", "reopen", "close"] as const;
type Action = (typeof ACTIONS)[number];

/** One request: what it asks for, what one may do with it, and the orders made of it. */
export async function porfView(user: Schemas["Me"], id: string): Promise<Node[]> {
  const path = { porf_id: Number(id) };
  const [porf, orders] = await Promise.all([
    api.GET("/api/v1/porfs/{porf_id}", { params: { path } }).then(versioned),
    api.GET("/api/v1/purchase-orders", { params: { query: { porf_id: [path.porf_id] } } }).then(unwrap),
  ]);
  return [
    h("h1", {}, `${porf.body.number} `, status(porf.body.status)),
    h("p", {}, porf.body.title),
    about(porf.body),
    lines(porf.body),
    ...(await approval(porf.body)),
    ...(await filesView(user, filesOfPorf(porf.body.id))),
    ...(porf.body.decisions.length ? [decisions(porf.body)] : []),
    decide(porf),
    ...(porf.body.allowed_actions["convert"]?.allowed ? [await convert(porf)] : []),
    h(
      "ul",
      {},
      ...orders.items.map((order) =>
        h("li", {}, link(`#/order/${order.id}`, order.number ?? "Draft order"), " ", status(order.status)),
      ),
    ),
  ];
}

const about = (porf: Porf): Node =>
  facts({
    Requester: porf.requester_name,
    Supplier: porf.supplier_name,
    Submitted: porf.submitted_at && when(porf.submitted_at),
    Decided: porf.decided_at && when(porf.decided_at),
    "Asked for approval": porf.approvers && asked(porf.approvers),
    Net: `${porf.net} ${porf.currency}`,
    Tax: `${porf.tax} ${porf.currency}`,
    Total: `${porf.total} ${porf.currency}`,
  });

const lines = (porf: Porf): Node =>
  table(
    "Lines",
    ["Description", "Quantity", "Unit price", "Tax %", "Net", "Left to order"],
    porf.lines.map((line) => [
      line.description,
      line.quantity,
      line.unit_price,
      line.tax_rate,
      line.net,
      line.remaining_quantity,
    ]),
  );

/** The names are for admins and auditors. */
const asked = ({ count, members }: Schemas["EligibleApprovers"]): string =>
  members?.length ? members.map((member) => member.name).join(", ") : count === 1 ? "1 approver" : `${count} approvers`;

const decisions = (porf: Porf): Node =>
  table(
    "Decisions",
    ["Decision", "Approver", "Comment", "Time"],
    porf.decisions.map((made) => [made.decision, made.approver_name, made.comment ?? "", when(made.decided_at)]),
  );

/** What one may do with it now. */
function decide({ body: porf, etag }: Versioned<Porf>): Node {
  const params = { path: { porf_id: porf.id }, header: { "If-Match": etag, ...once() } };
  return form(
    async (form, pressed) => {
      const body = { comment: value(form, "/comment") || null };
      ensure(await api.POST(`/api/v1/porfs/{porf_id}/${pressed as Action}`, { params, body }));
      go(`#/porf/${porf.id}`);
    },
    field("Comment", input("/comment", { required: false })),
    actionButtons(ACTIONS, porf.allowed_actions),
  );
}

/** All that is left of it becomes a draft order. */
async function convert({ body: porf, etag }: Versioned<Porf>): Promise<Node> {
  const suppliers = unwrap(await api.GET("/api/v1/suppliers", { params: { query: { is_active: true, limit: 100 } } }));
  const options = suppliers.items.map((supplier): [string, string] => [String(supplier.id), supplier.name]);
  const params = { path: { porf_id: porf.id }, header: { "If-Match": etag, ...once() } };
  return form(
    async (form) => {
      const body = { supplier_id: Number(value(form, "/supplier_id")) };
      const order = unwrap(await api.POST("/api/v1/porfs/{porf_id}/purchase-orders", { params, body }));
      go(`#/order/${order.id}`);
    },
    field("Supplier", select("/supplier_id", options)),
    h("button", {}, "Convert to an order"),
  );
}
