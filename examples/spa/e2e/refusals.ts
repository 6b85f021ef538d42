// Invalid sign-ins are refused with the code of the reason.

import assert from "node:assert/strict";
import { afterEach, describe, it } from "node:test";
import type { Page, Response } from "playwright-core";
import { makeKey, signed } from "./id-tokens";
import type { Person } from "./person";
import type { Lie } from "./provider";
import type { Together } from "./together";

const REQUESTER = "requester@demo.example";
const CALLBACK = "/api/v1/sessions/oidc/callback";
const EXCHANGE = "/api/v1/sessions/oidc/exchange";
const START = "/api/v1/sessions/oidc/start";
const CHALLENGE = "A".repeat(43);

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
    const query = new URLSearchParams({ return_to: `${together.stack.app}/?mode=cookie` });
    const start = `${together.stack.api}${START}?${query}`;
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

    it("a start of a page that is not the app", async () => {
      const { page } = await together.visitor("bearer");
      const body = { code_challenge: CHALLENGE, return_to: `${together.stack.app}/` };
      assert.equal(await post(page, together.stack.api + START, body), 200);
      // Another origin may not even ask: the browser's preflight is refused.
      await page.goto(`${together.stack.provider.issuer}/.well-known/openid-configuration`);
      assert.equal(await post(page, together.stack.api + START, body), "refused");
    });

    it("a link that starts with somebody else's challenge", async () => {
      const { page } = await together.visitor("bearer");
      const query = new URLSearchParams({ code_challenge: CHALLENGE, return_to: `${together.stack.app}/` });
      const answer = await page.goto(`${together.stack.api}${START}?${query}`);
      assert.equal(answer!.status(), 400);
      assert.equal((await answer!.json()).code, "unknown_parameter");
    });

    it("another path of the app's origin", async () => {
      const { page } = await together.visitor("cookie");
      const query = new URLSearchParams({ return_to: `${together.stack.app}/elsewhere` });
      const answer = await page.goto(`${together.stack.api}${START}?${query}`);
      assert.equal(answer!.status(), 422);
    });

    it("a code of the API that another browser started for", async () => {
      const attacker = await together.visitor("bearer");
      const sent = attacker.page.waitForRequest((request) => request.url().endsWith(EXCHANGE));
      await attacker.page.route(`**${EXCHANGE}`, (route) => route.abort());
      await attacker.signIn(REQUESTER);
      const { code } = (await sent).postDataJSON();
      const victim = await together.visitor("bearer");
      let exchanges = 0;
      victim.page.on("request", (request) => (exchanges += Number(request.url().endsWith(EXCHANGE))));
      await victim.page.goto(`${together.stack.app}/?mode=bearer&again#sign_in_code=${code}`);
      await victim.button("Sign in").waitFor();
      assert.equal(exchanges, 0);
    });

    it("a code of the API with another verifier than the app's", async () => {
      const person = await together.visitor("bearer");
      await person.page.route("**/sessions/oidc/exchange", async (route) => {
        const body = { ...route.request().postDataJSON(), code_verifier: CHALLENGE };
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

/** The status of a page's POST; "refused" if its browser does not let it see an answer. */
function post(page: Page, url: string, body: Record<string, string>): Promise<number | "refused"> {
  return page.evaluate(
    async ({ url, body }) => {
      const headers = { "Content-Type": "application/json" };
      const sent = fetch(url, { method: "POST", headers, body: JSON.stringify(body) });
      return sent.then(
        (answer) => answer.status,
        () => "refused" as const,
      );
    },
    { url, body },
  );
}
