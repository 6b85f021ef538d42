// The main job with the client that @hey-api/openapi-ts generates.

import assert from "node:assert/strict";
import { createClient } from "../build/hey-api/client/index.ts";
import {
  approvePorf,
  convertPorf,
  getPorf,
  getPurchaseOrderDocument,
  importPorf,
  issuePurchaseOrder,
  listPorfs,
  listSuppliers,
  submitPorf,
} from "../build/hey-api/index.ts";
import { apiUrl, etagOf, finish, idempotencyKey, lines, tokens, total } from "./common.ts";

/** Calls of this user; a problem is thrown. */
function callsOf(token: string) {
  // Called for each authentication scheme of an operation; without this check, the token would be sent for all.
  const auth = ({ scheme }: { scheme?: string }) => (scheme === "bearer" ? token : undefined);
  return { client: createClient({ baseUrl: apiUrl, auth }), throwOnError: true } as const;
}

const requester = callsOf(tokens.requester);
const approver = callsOf(tokens.approver);
const buyer = callsOf(tokens.buyer);

const raised = await importPorf({
  ...requester,
  headers: { "Idempotency-Key": idempotencyKey() },
  body: { title: "Office supplies", file: lines },
});
assert.equal(raised.data.total, total);

const path = { porf_id: raised.data.id };
const submitted = await submitPorf({
  ...requester,
  path,
  headers: { "If-Match": etagOf(raised.response), "Idempotency-Key": idempotencyKey() },
  body: { comment: "For the new office" },
});
assert.equal(submitted.data.status, "pending");

const again = await submitPorf({
  ...requester,
  throwOnError: false,
  path,
  headers: { "If-Match": etagOf(submitted.response), "Idempotency-Key": idempotencyKey() },
});
assert.equal(again.response?.status, 409);
assert.equal(again.error?.code, "invalid_transition");

const inbox = await listPorfs({ ...approver, query: { waiting_for_me: true, status: ["pending"] } });
assert(inbox.data.items.some((item) => item.id === raised.data.id));
const waiting = await getPorf({ ...approver, path });
const approved = await approvePorf({
  ...approver,
  path,
  headers: { "If-Match": etagOf(waiting.response), "Idempotency-Key": idempotencyKey() },
});
assert.equal(approved.data.status, "approved");

const suppliers = await listSuppliers({ ...buyer, query: { is_active: true, limit: 1 } });
const supplier = suppliers.data.items[0];
assert(supplier);
const converted = await convertPorf({
  ...buyer,
  path,
  headers: { "If-Match": etagOf(approved.response), "Idempotency-Key": idempotencyKey() },
  body: { supplier_id: supplier.id },
});

const orderPath = { order_id: converted.data.id };
const issued = await issuePurchaseOrder({
  ...buyer,
  path: orderPath,
  headers: { "If-Match": etagOf(converted.response), "Idempotency-Key": idempotencyKey() },
});
const document = await getPurchaseOrderDocument({ ...buyer, path: orderPath });
await finish(issued.data, document.data);
