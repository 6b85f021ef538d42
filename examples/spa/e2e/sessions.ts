// A session stays while one works, in as many tabs as one likes, and ends when and where one wants it to.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Page } from "playwright-core";
import type { Mode, Person } from "./person";
import type { Together } from "./together";

const TABS = 20;
const REFRESH = "/api/v1/sessions/refresh";
const REQUESTER = "requester@demo.example";

export function sessions(mode: Mode, together: Together): void {
  const key = `po-api.session.${mode}`;

  describe(`sessions, ${mode} mode`, () => {
    it("tokens are refreshed before they expire", async () => {
      const requester = await together.signedIn(mode, REQUESTER);
      await isDue(requester.page, key);
      const refreshes = count(requester, REFRESH);
      const refusals = count(requester, /./, 401);
      await requester.raise("Paper");
      assert.ok(refreshes() > 0);
      assert.equal(refusals(), 0);
    });

    it("a refused request is repeated with new tokens, and done once", async () => {
      const requester = await together.signedIn(mode, REQUESTER);
      await requester.follow("Raise a request");
      await requester.page.getByLabel("Title").fill(`Ink (${mode})`);
      await requester.line(1, "Ink", "1", "9.00");
      await loseAccess(requester, key);
      const refusals = count(requester, /./, 401);
      await requester.press("Save the draft");
      await requester.heading("draft").waitFor();
      assert.equal(refusals(), 1);
      await requester.follow("Requests");
      assert.equal(await requester.page.getByText(`Ink (${mode})`).count(), 1);
    });

    it("a session ended in another browser is out at its next request", async () => {
      const first = await together.signedIn(mode, REQUESTER, "First browser");
      const second = await together.signedIn(mode, REQUESTER, "Second browser");
      await second.follow("Sessions");
      const row = second.page.getByRole("row", { name: "First browser" });
      await row.getByRole("button", { name: "End" }).click();
      await row.waitFor({ state: "detached" });
      await first.follow("Raise a request");
      await first.reads("Your session has ended");
      await second.follow("Requests");
      await second.heading("Requests").waitFor();
    });

    it("who signs out is out in the other tabs, too", async () => {
      const requester = await together.signedIn(mode, REQUESTER);
      const other = await requester.anotherTab();
      await requester.press("Sign out");
      await requester.button("Sign in").waitFor();
      await other.getByRole("button", { name: "Sign in" }).waitFor();
    });

    it(`${TABS} tabs work at once, and nobody is signed out`, async () => {
      const requester = await together.signedIn(mode, REQUESTER);
      const tabs = await Promise.all(Array.from({ length: TABS }, () => requester.anotherTab()));
      await isDue(requester.page, key);
      await Promise.all(tabs.map((tab) => tab.getByRole("link", { name: "Sessions" }).click()));
      await Promise.all(tabs.map((tab) => tab.getByRole("heading", { name: "Sessions" }).waitFor()));
    });

    it(`${TABS} tabs that know nothing of each other refresh at once, and nobody is signed out`, async () => {
      const requester = await together.signedIn(mode, REQUESTER);
      const tabs = await Promise.all(Array.from({ length: TABS }, () => requester.anotherTab()));
      const answers = await Promise.all(tabs.map((tab) => refresh(tab, together.stack.api + REFRESH, key)));
      assert.deepEqual(
        answers.map((it) => it.status),
        Array(TABS).fill(200),
      );
      assert.equal(new Set(answers.map((it) => it.refreshToken)).size, 1);
      await requester.follow("Sessions");
      await requester.heading("Sessions").waitFor();
    });
  });
}

/** Waits until the app would refresh before its next request. */
async function isDue(page: Page, key: string): Promise<void> {
  await page.waitForFunction((key) => JSON.parse(localStorage.getItem(key)!).refreshAt <= Date.now(), key);
}

/** As if the API had forgotten the access token, while the app thinks that it is good for long. */
async function loseAccess({ page, context }: Person, key: string): Promise<void> {
  await context.clearCookies({ name: "__Host-po_access" });
  await page.evaluate((key) => {
    const session = JSON.parse(localStorage.getItem(key)!);
    session.accessToken &&= "lost";
    localStorage.setItem(key, JSON.stringify({ ...session, refreshAt: Date.now() + 60_000 }));
  }, key);
}

/** How many answers to such requests there have been from now on, with this status if one is given. */
function count({ context }: Person, url: string | RegExp, status?: number): () => number {
  let counted = 0;
  context.on("response", (response) => {
    const counts = response.url().search(url) >= 0 && response.request().method() !== "OPTIONS";
    if (counts && (status === undefined || response.status() === status)) counted++;
  });
  return () => counted;
}

/** Refreshes without asking the other tabs, as an app without a lock would. */
function refresh(tab: Page, url: string, key: string): Promise<{ status: number; refreshToken: string | null }> {
  return tab.evaluate(
    async ({ url, key }) => {
      const { refreshToken: refresh_token } = JSON.parse(localStorage.getItem(key)!);
      const headers = { "X-CSRF": "1", ...(refresh_token && { "Content-Type": "application/json" }) };
      const body = refresh_token && JSON.stringify({ refresh_token });
      const answer = await fetch(url, { method: "POST", credentials: "include", headers, body });
      const tokens = await answer.json();
      return { status: answer.status, refreshToken: tokens.refresh_token ?? null };
    },
    { url, key },
  );
}
