// The main job with the types of openapi-typescript and its client, openapi-fetch.

import assert from "node:assert/strict";
import createClient from "openapi-fetch";
import type { components, paths } from "../build/openapi-typescript.ts";
import { apiUrl, etagOf, finish, idempotencyKey, lines, tokens, total } from "./common.ts";

type Problem = components["schemas"]["Problem"];

function clientOf(token: string) {
  return createClient<paths>({ baseUrl: apiUrl, headers: { Authorization: `Bearer ${token}` } });
}

/** The answer's body; a problem, as the document describes it, is thrown. */
function unwrap<T>(answer: { data?: T; error?: Problem }): T {
  if (answer.data === undefined) throw new Error(JSON.stringify(answer.error));
  return answer.data;
}

const requester = clientOf(tokens.requester);
const approver = clientOf(tokens.approver);
const buyer = clientOf(tokens.buyer);

const raised = await requester.POST("/api/v1/porfs/import", {
  params: { header: { "Idempotency-Key": idempotencyKey() } },
  body: { title: "Office supplies", file: lines },
  bodySerializer: ({ title, file }) => {
    const form = new FormData();
    form.append("title", title);
    form.append("file", file);
    return form;
  },
});
const porf = unwrap(raised);
assert.equal(porf.total, total);

const path = { porf_id: porf.id };
const submitted = await requester.POST("/api/v1/porfs/{porf_id}/submit", {
  params: { path, header: { "If-Match": etagOf(raised.response), "Idempotency-Key": idempotencyKey() } },
  body: { comment: "For the new office" },
});
assert.equal(unwrap(submitted).status, "pending");

const again = await requester.POST("/api/v1/porfs/{porf_id}/submit", {
  params: { path, header: { "If-Match": etagOf(submitted.response), "Idempotency-Key": idempotencyKey() } },
});
assert.equal(again.response.status, 409);
assert.equal(again.error?.code, "invalid_transition");

const inbox = await approver.GET("/api/v1/porfs", { params: { query: { waiting_for_me: true, status: ["pending"] } } });
assert(unwrap(inbox).items.some((item) => item.id === porf.id));
const waiting = await approver.GET("/api/v1/porfs/{porf_id}", { params: { path } });
const approved = await approver.POST("/api/v1/porfs/{porf_id}/approve", {
  params: { path, header: { "If-Match": etagOf(waiting.response), "Idempotency-Key": idempotencyKey() } },
});
assert.equal(unwrap(approved).status, "approved");

const suppliers = unwrap(await buyer.GET("/api/v1/suppliers", { params: { query: { is_active: true, limit: 1 } } }));
const supplier = suppliers.items[0];
assert(supplier);
const converted = await buyer.POST("/api/v1/porfs/{porf_id}/purchase-orders", {
  params: { path, header: { "If-Match": etagOf(approved.response), "Idempotency-Key": idempotencyKey() } },
  body: { supplier_id: supplier.id },
});

const orderPath = { order_id: unwrap(converted).id };
const issued = await buyer.POST("/api/v1/purchase-orders/{order_id}/issue", {
  params: { path: orderPath, header: { "If-Match": etagOf(converted.response), "Idempotency-Key": idempotencyKey() } },
});
const document = await buyer.GET("/api/v1/purchase-orders/{order_id}/document.pdf", {
  params: { path: orderPath },
  parseAs: "blob",
});
await finish(unwrap(issued), unwrap(document));
