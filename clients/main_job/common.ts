// Shared by the TypeScript programs. Each creates a request for 200 articles, has it approved by another member,
// orders it and fetches the document for the supplier.

import assert from "node:assert/strict";

function setting(name: string): string {
  const value = process.env[name];
  assert(value, `${name} is not set`);
  return value;
}

export const apiUrl = setting("API_URL");
export const tokens = {
  requester: setting("REQUESTER_TOKEN"),
  approver: setting("APPROVER_TOKEN"),
  buyer: setting("BUYER_TOKEN"),
};

const rows = Array.from({ length: 200 }, (_, index) => `Article ${index + 1},${index + 1},1.25,20`);
export const lines = new File([["description,quantity,unit_price,tax_rate", ...rows].join("\n")], "lines.csv");
/** What these lines come to: 1.25 × (1 + 2 + … + 200), and 20 % of it. */
export const total = "30150.00";

export const idempotencyKey = () => crypto.randomUUID();

/** The ETag of an answer, which the next change takes as If-Match. */
export function etagOf(answer: { headers: Headers }): string {
  const etag = answer.headers.get("ETag");
  assert(etag, "the answer has no ETag");
  return etag;
}

/** The order that came of it is numbered, right to the cent, and the supplier's document is a PDF. */
export async function finish(order: { number: string | null; total: string }, document: Blob): Promise<void> {
  assert.match(order.number ?? "", /^PO-/);
  assert.equal(order.total, total);
  assert.equal(await document.slice(0, 4).text(), "%PDF");
  console.log(`${order.number}: ${order.total}, a document of ${document.size} bytes`);
}
