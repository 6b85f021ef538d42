// The main job with the functions that orval generates.

import assert from "node:assert/strict";
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
} from "../build/orval.ts";
import { etagOf, finish, idempotencyKey, lines, tokens, total } from "./common.ts";

function optionsOf(token: string): RequestInit {
  return { headers: { Authorization: `Bearer ${token}` } };
}

/** The answer, if it went well; else its problem is thrown. */
function unwrap<T extends { status: number; data: unknown }>(answer: T): Extract<T, { status: 200 | 201 }> {
  if (answer.status >= 300) throw new Error(JSON.stringify(answer.data));
  return answer as Extract<T, { status: 200 | 201 }>;
}

const requester = optionsOf(tokens.requester);
const approver = optionsOf(tokens.approver);
const buyer = optionsOf(tokens.buyer);

const raised = unwrap(
  await importPorf({ title: "Office supplies", file: lines }, { "Idempotency-Key": idempotencyKey() }, requester),
);
assert.equal(raised.data.total, total);

const id = raised.data.id;
const submitted = unwrap(
  await submitPorf(
    id,
    { "If-Match": etagOf(raised), "Idempotency-Key": idempotencyKey() },
    { comment: "For the new office" },
    {},
    requester,
  ),
);
assert.equal(submitted.data.status, "pending");

const again = await submitPorf(
  id,
  { "If-Match": etagOf(submitted), "Idempotency-Key": idempotencyKey() },
  undefined,
  {},
  requester,
);
assert(again.status === 409);
assert.equal(again.data.code, "invalid_transition");

const inbox = unwrap(await listPorfs({ waiting_for_me: true, status: ["pending"] }, approver));
assert(inbox.data.items.some((item) => item.id === id));
const waiting = unwrap(await getPorf(id, {}, approver));
const approved = unwrap(
  await approvePorf(
    id,
    { "If-Match": etagOf(waiting), "Idempotency-Key": idempotencyKey() },
    undefined,
    {},
    approver,
  ),
);
assert.equal(approved.data.status, "approved");

const suppliers = unwrap(await listSuppliers({ is_active: true, limit: 1 }, buyer));
const supplier = suppliers.data.items[0];
assert(supplier);
const converted = unwrap(
  await convertPorf(
    id,
    { "If-Match": etagOf(approved), "Idempotency-Key": idempotencyKey() },
    { supplier_id: supplier.id },
    {},
    buyer,
  ),
);

const issued = unwrap(
  await issuePurchaseOrder(
    converted.data.id,
    { "If-Match": etagOf(converted), "Idempotency-Key": idempotencyKey() },
    {},
    {},
    buyer,
  ),
);
const document = unwrap(await getPurchaseOrderDocument(converted.data.id, {}, {}, buyer));
await finish(issued.data, document.data);
