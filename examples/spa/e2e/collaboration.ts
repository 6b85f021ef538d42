// Files of requests and orders, the inbox of an approver, and notifications.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { describe, it } from "node:test";
import type { Download } from "playwright-core";
import { MODES, type Person } from "./person";
import type { Together } from "./together";

const QUOTE = "%PDF-1.4\nA quote\n%%EOF\n";
const MEBIBYTE = 1024 * 1024;
const COUNT = "/api/v1/notifications/count";

export function collaboration(together: Together): void {
  describe("files, the inbox and notifications", () => {
    for (const mode of MODES)
      it(`an approver finds a request and its file, the requester learns of the decision, ${mode} mode`, async () => {
        const requester = await together.signedIn(mode, "requester@demo.example");
        await readAll(requester);
        const number = await requester.raise("Lamps as in the quote");
        await upload(requester, "Angebot Müller.pdf", QUOTE);
        await requester.press("submit");
        await requester.heading(`${number} pending`).waitFor();

        const approver = await together.signedIn(mode, "approver@demo.example");
        await unread(approver, /\d+ unread/).waitFor();
        await approver.follow("Waiting for me");
        await approver.heading("Waiting for me").waitFor();
        await approver.follow(number);
        const saved = await download(approver, "Angebot Müller.pdf");
        assert.equal(saved.suggestedFilename(), "Angebot Müller.pdf");
        assert.equal(await readFile(await saved.path(), "utf8"), QUOTE);
        assert.equal(await approver.button("Delete Angebot Müller.pdf").count(), 0);
        await approver.press("approve");
        await approver.heading(`${number} approved`).waitFor();

        await requester.follow("Requests");
        await requester.heading("Requests").waitFor();
        await unread(requester, /, 1 unread/).waitFor();
        await requester.follow("Notifications");
        const told = requester.page.getByRole("row", { name: number });
        await told.getByText("was approved").waitFor();
        await told.getByRole("link").click();
        await requester.heading(`${number} approved`).waitFor();
        await unread(requester, "unread").waitFor({ state: "detached" });
      });

    it("the number of unread notifications is not sent again while it stays", async () => {
      const requester = await together.signedIn("bearer", "requester@demo.example");
      const again = requester.page.waitForResponse((it) => it.url().endsWith(COUNT) && it.status() === 304);
      await requester.follow("Sessions");
      await again;
    });

    it("a file that is refused is marked, with the reason; one may delete one's own", async () => {
      const requester = await together.signedIn("bearer", "requester@demo.example");
      await requester.raise("A tool");
      await choose(requester, "quote.pdf", "MZ\0\0");
      await requester.problem("file_type_refused");
      await requester.reads("The content has to be PDF");
      await requester.page.locator("[name='/file'][aria-invalid=true]").waitFor();
      await choose(requester, "large.pdf", "%PDF-".padEnd(20 * MEBIBYTE + 1));
      await requester.page.locator("[name='/file']:focus:invalid").waitFor();
      await upload(requester, "quote.pdf", QUOTE);
      requester.page.once("dialog", (it) => it.accept());
      await requester.press("Delete quote.pdf");
      await requester.reads("Files: none.");
    });

    it("a file for the supplier is fixed by the issue of its order", async () => {
      const requester = await together.signedIn("bearer", "requester@demo.example");
      const number = await requester.raise("A lamp as drawn");
      await requester.press("submit");
      await requester.heading(`${number} pending`).waitFor();
      const buyer = await together.signedIn("bearer", "buyer@demo.example");
      await buyer.approve(number);
      await buyer.press("Convert to an order");
      await buyer.page.getByLabel("Who gets it").selectOption("supplier");
      await upload(buyer, "drawing.pdf", QUOTE);
      await buyer.button("Delete drawing.pdf").waitFor();
      await buyer.issue();
      await buyer.page.getByRole("row", { name: /drawing.pdf.*the supplier, too/ }).waitFor();
      assert.equal(await buyer.button("Delete drawing.pdf").count(), 0);
    });

    it("the inbox says on behalf of whom one decides", async () => {
      await together.delegate("approver@demo.example", "buyer@demo.example");
      const requester = await together.signedIn("bearer", "requester@demo.example");
      const number = await requester.raise("A hall of lamps", "2000");
      await requester.press("submit");
      await requester.heading(`${number} pending`).waitFor();
      const buyer = await together.signedIn("bearer", "buyer@demo.example");
      await buyer.approve(number, "pending");
      await buyer.page.getByRole("table", { name: "Decisions" }).getByText("Bo Buyer").waitFor();
      await buyer.follow("Waiting for me");
      await buyer.page.getByRole("row", { name: new RegExp(`${number}.*Amir Approver`) }).waitFor();
      await buyer.approve(number, "approved");
      await buyer.page.getByRole("table", { name: "Approval" }).getByText("Bo Buyer for Amir Approver").waitFor();
    });
  });
}

const unread = ({ page }: Person, number: string | RegExp) => page.getByRole("link", { name: number });

async function readAll(person: Person): Promise<void> {
  await person.follow("Notifications");
  await Promise.all([person.page.waitForResponse(/read-all/), person.press("Mark all as read")]);
  await unread(person, "unread").waitFor({ state: "detached" });
}

async function choose(person: Person, name: string, content: string): Promise<void> {
  const file = { name, mimeType: "application/octet-stream", buffer: Buffer.from(content) };
  await person.page.getByLabel("Add a file").setInputFiles(file);
  await person.press("Upload");
}

async function upload(person: Person, name: string, content: string): Promise<void> {
  await choose(person, name, content);
  await person.button(name).waitFor();
}

async function download(person: Person, name: string): Promise<Download> {
  const [saved] = await Promise.all([person.page.waitForEvent("download"), person.press(name)]);
  return saved;
}
