// From a request to an issued order with its document.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { describe, it } from "node:test";
import type { Mode, Person } from "./person";
import type { Together } from "./together";

export function mainJob(mode: Mode, together: Together): void {
  describe(`the main job, ${mode} mode`, () => {
    it("two people take a request to an issued order", async () => {
      const requester = await together.signedIn(mode, "requester@demo.example");
      const number = await requester.raise("Light for the new office");
      await requester.reads("298.80 GBP");
      await requester.page.getByRole("table", { name: "Approval" }).getByText("any approver").waitFor();
      assert.equal(await requester.button("approve").getAttribute("title"), "missing role");
      await requester.press("submit");
      await requester.heading(`${number} pending`).waitFor();

      const buyer = await together.signedIn(mode, "buyer@demo.example");
      await buyer.order(number);
      await buyer.page.getByTitle("Document of").waitFor();
      assert.match(await document(buyer), /^%PDF-[^]*%%EOF\s*$/);
      await buyer.press("deliver");
      const deliveries = buyer.page.getByRole("table", { name: "Deliveries" });
      await deliveries.getByText(/@.*\.example/).waitFor();
      await deliveries.getByText("sent", { exact: true }).waitFor();
    });

    it("a field that the API refuses is marked", async () => {
      const requester = await together.signedIn(mode, "requester@demo.example");
      await requester.follow("Raise a request");
      await requester.page.getByLabel("Title").fill("Nothing");
      await requester.line(1, "Air", "0", "1.00");
      await requester.press("Save the draft");
      await requester.problem("validation_failed");
      await requester.page.locator("[name='/lines/0/quantity'][aria-invalid=true]").waitFor();
    });

    it("who decides on what has changed meanwhile is told so", async () => {
      const requester = await together.signedIn(mode, "requester@demo.example");
      const number = await requester.raise("A chair");
      await requester.press("submit");
      await requester.heading(`${number} pending`).waitFor();
      const approver = await together.signedIn(mode, "approver@demo.example");
      await approver.follow(number);
      await approver.heading(`${number} pending`).waitFor();
      await requester.press("recall");
      await requester.heading(`${number} draft`).waitFor();
      await requester.press("submit");
      await requester.heading(`${number} pending`).waitFor();
      await approver.press("approve");
      await approver.problem("stale_version");
      await approver.press("Show it as it is now");
      await approver.press("approve");
      await approver.heading(`${number} approved`).waitFor();
    });

    it("somebody unknown founds an organisation", async () => {
      const founder = await together.visitor(mode);
      await founder.signIn(`founder-${mode}@new.example`);
      await founder.found("New & Sons");
      await founder.reads(/\(.*admin.*\)/);
    });
  });
}

/** The document's bytes, as saved by the browser. */
async function document(person: Person): Promise<string> {
  const [download] = await Promise.all([person.page.waitForEvent("download"), person.follow("Download the document")]);
  return readFile(await download.path(), "latin1");
}
