// How a front end uses the generated types. It is compiled, not run: what it says about the API must be true of openapi.json.

import createClient from "openapi-fetch";
import type { components, paths } from "./build/api";

type Problem = components["schemas"]["Problem"];
type PorfQuery = NonNullable<paths["/api/v1/porfs"]["get"]["parameters"]["query"]>;
type PorfPage = components["schemas"]["PorfPage"];
type PorfSummary = components["schemas"]["PorfSummary"];
type PorfRead = components["schemas"]["PorfRead"];

export class ApiError extends Error {
  constructor(readonly problem: Problem | undefined) {
    super(problem?.detail ?? "the answer is empty");
  }
}

/** The answer's body; a problem, as the document describes it, is thrown. */
function unwrap<T>(answer: { data?: T; error?: Problem }): T {
  if (answer.error !== undefined || answer.data === undefined) throw new ApiError(answer.error);
  return answer.data;
}

export function porfs(baseUrl: string, token: string) {
  const api = createClient<paths>({ baseUrl, headers: { Authorization: `Bearer ${token}` } });

  return {
    /** An approver's inbox, page by page. */
    async *waitingForMe(): AsyncGenerator<PorfSummary> {
      let cursor: string | null = null;
      do {
        const query: PorfQuery = { waiting_for_me: true, status: ["pending"], limit: 100 };
        if (cursor !== null) query.cursor = cursor;
        const page: PorfPage = unwrap(await api.GET("/api/v1/porfs", { params: { query } }));
        yield* page.items;
        cursor = page.next_cursor;
      } while (cursor !== null);
    },

    /** A draft, and the ETag that its next change takes. */
    async create(title: string, currency: string): Promise<{ porf: PorfRead; etag: string }> {
      const answer = await api.POST("/api/v1/porfs", {
        params: { header: { "Idempotency-Key": crypto.randomUUID() } },
        body: {
          title,
          currency,
          lines: [{ description: "Desk lamp", quantity: "10", unit_price: "24.90", tax_rate: "20" }],
        },
      });
      return { porf: unwrap(answer), etag: answer.response.headers.get("ETag") ?? "" };
    },

    /** Hand a draft in; its new status is one of the published ones. */
    async submit(porf: PorfRead, etag: string): Promise<components["schemas"]["PorfStatus"]> {
      const answer = await api.POST("/api/v1/porfs/{porf_id}/submit", {
        params: {
          path: { porf_id: porf.id },
          header: { "If-Match": etag, "Idempotency-Key": crypto.randomUUID() },
        },
        body: { comment: `Total: ${porf.total} ${porf.currency}` },
      });
      return unwrap(answer).status;
    },
  };
}
