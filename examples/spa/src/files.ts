// The files of requests and orders, which have the same operations at different addresses.

import { api, once, type Schemas } from "./api";
import { ensure, unwrap } from "./problems";

export interface Files {
  page(cursor: string | null): Promise<Schemas["FilePage"]>;
  add(form: FormData): Promise<void>;
  content(file_id: number): Promise<Blob>;
  remove(file_id: number): Promise<void>;
}

const PORF = "/api/v1/porfs/{porf_id}/files";
const ORDER = "/api/v1/purchase-orders/{order_id}/files";

export function filesOfPorf(porf_id: number): Files {
  const path = { porf_id };
  return {
    page: async (cursor) => unwrap(await api.GET(PORF, { params: { path, query: paging(cursor) } })),
    add: async (form) => ensure(await api.POST(PORF, { params: { path, header: once() }, body: body(form) })),
    content: async (file_id) =>
      unwrap(await api.GET(`${PORF}/{file_id}/content`, { params: { path: { ...path, file_id } }, parseAs: "blob" })),
    remove: async (file_id) =>
      ensure(await api.DELETE(`${PORF}/{file_id}`, { params: { path: { ...path, file_id } } })),
  };
}

export function filesOfOrder(order_id: number): Files {
  const path = { order_id };
  return {
    page: async (cursor) => unwrap(await api.GET(ORDER, { params: { path, query: paging(cursor) } })),
    add: async (form) => ensure(await api.POST(ORDER, { params: { path, header: once() }, body: body(form) })),
    content: async (file_id) =>
      unwrap(await api.GET(`${ORDER}/{file_id}/content`, { params: { path: { ...path, file_id } }, parseAs: "blob" })),
    remove: async (file_id) =>
      ensure(await api.DELETE(`${ORDER}/{file_id}`, { params: { path: { ...path, file_id } } })),
  };
}

const paging = (cursor: string | null) => ({ limit: 20, ...(cursor !== null && { cursor }) });

/** The schema's type of a file is a text; the client sends a form as it is. */
const body = (form: FormData) => form as unknown as Schemas["OrderFileBody"];
