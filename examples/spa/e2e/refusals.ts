// Invalid sign-ins are refused with the code of the reason.

import assert from "node:assert/strict";
import { afterEach, describe, it } from "node:test";
import type { Response } from "playwright-core";
import { makeKey, signed } from "./id-tokens";
import type { Person } from "./person";
import type { Lie } from "./provider";
import type { Together } from "./together";

const REQUESTER = "requester@demo.example";
const CALLBACK = "/api/v1/sessions/oidc/callback";

/** What is wrong with the ID token that the provider sends. */
const LIES: Record<string, Lie> = {
  "another nonce": (claims, key) => signed({ ...claims, nonce: "of-another-sign-in" }, key),
  "no nonce": ({ nonce: _, ...claims }, key) => signed(claims, key),
  "another audience": (claims, key) => signed({ ...claims, aud: "another-application" }, key),
  "another issuer": (claims, key) => signed({ ...claims, iss: "https://provider.example" }, key),
  "an end in the past": (claims, key) => signed({ ...claims, exp: 1_700_000_000 }, key),
  "no signature": (claims, key) => signed(claims, key, "none"),
  "the public key for a secret": (claims, key) => signed(claims, key, "HS256"),
  "a key that the provider does not have": (claims, key) => signed(claims, { ...makeKey(), id: key.id }),
  "a key that nobody knows": (claims) => signed(claims, makeKey()),
};

export function refusals(together: Together): void {
  const provider = () => together.stack.provider;

  /** Signs in while the provider sends what `lie` makes of its ID token. */
  async function signInWith(lie: Lie | undefined): Promise<Person> {
    const person = await together.visitor("bearer");
    provider().lie = lie;
    await person.signIn(REQUESTER);
    return person;
  }

  /** Where the API sends this browser to sign in. */
  async function authorization({ context }: Person): Promise<URL> {
    const query = new URLSearchParams({ mode: "cookie", return_to: `${together.stack.app}/?mode=cookie` });
    const start = `${together.stack.api}/api/v1/sessions/oidc/start?${query}`;
    const answer = await context.request.get(start, { maxRedirects: 0 });
    return new URL(answer.headers()["location"]!);
  }

  /** Signs in at `url`, and what the API answered when the browser came back. */
  async function cameBack(person: Person, url: URL) {
    await person.page.goto(url.href);
    const callback = person.page.waitForResponse((response) => response.url().includes(CALLBACK));
    await person.nameOneself(REQUESTER);
    return callback;
  }

  describe("sign-ins that are refused", () => {
    afterEach(() => (provider().lie = undefined));

    it("a new key of the provider is accepted, its old one is not any more", async () => {
      await (await signInWith(undefined)).heading("Requests").waitFor();
      const old = provider().rotateKey();
      await (await signInWith(undefined)).heading("Requests").waitFor();
      await (await signInWith((claims) => signed(claims, old))).problem("invalid_id_token");
    });

    for (const [what, lie] of Object.entries(LIES)) {
      it(`an ID token with ${what}`, async () => {
        await (await signInWith(lie)).problem("invalid_id_token");
      });
    }

    it("an address that the provider has not verified", async () => {
      const person = await signInWith((claims, key) => signed({ ...claims, email_verified: false }, key));
      await person.problem("email_not_verified");
    });

    it("a made-up state", async () => {
      const person = await together.visitor("cookie");
      const url = await authorization(person);
      url.searchParams.set("state", "made-up");
      await isRefused(await cameBack(person, url));
    });

    it("another browser's sign-in", async () => {
      const [one, other] = [await together.visitor("cookie"), await together.visitor("cookie")];
      await authorization(other);
      await isRefused(await cameBack(other, await authorization(one)));
    });

    it("a sign-in that was finished before", async () => {
      const person = await together.visitor("cookie");
      const callback = await cameBack(person, await authorization(person));
      assert.equal(callback.headers()["location"], `${together.stack.app}/?mode=cookie`);
      await isRefused((await person.page.goto(callback.url()))!);
    });

    it("a code of the provider whose challenge is not the API's", async () => {
      const person = await together.visitor("cookie");
      const url = await authorization(person);
      url.searchParams.set("code_challenge", "A".repeat(43));
      await cameBack(person, url);
      await person.problem("sign_in_refused");
    });

    it("a code of the API with another verifier than the app's", async () => {
      const person = await together.visitor("bearer");
      await person.page.route("**/sessions/oidc/exchange", async (route) => {
        const body = { ...route.request().postDataJSON(), code_verifier: "A".repeat(43) };
        await route.continue({ postData: JSON.stringify(body) });
      });
      await person.signIn(REQUESTER);
      await person.problem("invalid_sign_in_code");
    });
  });
}

async function isRefused(answer: Response): Promise<void> {
  assert.equal(answer.status(), 400);
  assert.equal(answer.headers()["content-type"], "application/problem+json");
  assert.equal((await answer.json()).code, "invalid_sign_in");
}
