// Signing in with an ID token that a page already has, and answering an invitation, all through the API.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { afterEach, describe, it } from "node:test";
import createClient, { type Client } from "openapi-fetch";
import { request } from "playwright-core";
import type { paths } from "../build/api";
import { signed } from "./id-tokens";
import type { Together } from "./together";

type Api = Client<paths>;

export function idTokenSignIns(together: Together): void {
  const client = (token?: string): Api =>
    createClient<paths>({
      baseUrl: together.stack.api,
      headers: token === undefined ? {} : { Authorization: `Bearer ${token}` },
    });

  /** The answer to a sign-in with an ID token; `issuedFor` is a nonce that is not the one that the page sends. */
  async function signIn(email: string, issuedFor?: string) {
    const nonce = randomUUID();
    const context = await request.newContext();
    const id_token = await together.stack.provider.idToken(context, email, issuedFor ?? nonce);
    await context.dispose();
    return client().POST("/api/v1/sessions", { body: { id_token, nonce } });
  }

  async function signedIn(email: string): Promise<Api> {
    return client((await signIn(email)).data!.access_token!);
  }

  /** The API as an invited person, who has just signed in, and their only invitation. */
  async function invited(email: string) {
    const admin = await signedIn("admin@demo.example");
    const body = { email, roles: ["requester" as const] };
    assert.equal((await admin.POST("/api/v1/invitations", { body })).response.status, 201);
    const api = await signedIn(email);
    const [invitation] = (await api.GET("/api/v1/users/me/invitations")).data!.items;
    assert.equal(invitation!.organisation.name, "Demo Organisation");
    const header = { "If-Match": `"${invitation!.version}"`, "Idempotency-Key": randomUUID() };
    return { admin, api, params: { path: { invitation_id: invitation!.id }, header } };
  }

  describe("sign-ins with ID tokens", () => {
    afterEach(() => (together.stack.provider.lie = undefined));

    it("an invitation is accepted", async () => {
      const { admin, api, params } = await invited("accepts-by-token@new.example");
      const answer = await api.POST("/api/v1/users/me/invitations/{invitation_id}/accept", {
        params,
        body: { leave: false },
      });
      assert.deepEqual(answer.data?.roles, ["requester"]);
      const { data } = await admin.GET("/api/v1/users", {
        params: { query: { email: "accepts-by-token@new.example" } },
      });
      assert.equal(data?.items[0]?.id, answer.data?.id);
    });

    it("an invitation is declined", async () => {
      const { admin, api, params } = await invited("declines-by-token@new.example");
      const answer = await api.POST("/api/v1/users/me/invitations/{invitation_id}/decline", { params });
      assert.equal(answer.response.status, 204);
      assert.equal((await api.GET("/api/v1/users/me")).data?.organisation_id, null);
      const { path } = params;
      assert.equal(
        (await admin.GET("/api/v1/invitations/{invitation_id}", { params: { path } })).data?.status,
        "declined",
      );
    });

    it("an address that the provider has not verified is refused", async () => {
      together.stack.provider.lie = (claims, key) => signed({ ...claims, email_verified: false }, key);
      const { error, response } = await signIn("requester@demo.example");
      assert.deepEqual([response.status, error?.code], [403, "email_not_verified"]);
    });

    it("a token for another page's nonce is refused", async () => {
      const { error, response } = await signIn("requester@demo.example", "of-another-page");
      assert.deepEqual([response.status, error?.code], [401, "invalid_id_token"]);
    });
  });
}
