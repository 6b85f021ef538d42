// A supplier, who has no account, reads an order at the link in the mail.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { describe, it } from "node:test";
import type { Together } from "./together";

const SMALL = { width: 360, height: 740 };

export function supplier(together: Together): void {
  describe("the page for suppliers", () => {
    it("shows the order of the link in the mail, and tells the buyer who has read it", async () => {
      const buyer = await together.signedIn("bearer", "buyer@demo.example");
      const requester = await together.signedIn("bearer", "requester@demo.example");
      const request = await requester.raise("Light for the supplier");
      await requester.press("submit");
      await requester.heading(`${request} pending`).waitFor();
      const number = await buyer.order(request);
      await buyer.press("deliver");
      await buyer.page.getByRole("table", { name: "Deliveries" }).getByText("sent", { exact: true }).waitFor();

      const link = await together.stack.linkOf(number);
      const page = await together.guest(SMALL);
      await page.goto(link);
      await page.getByRole("heading", { name: number }).waitFor();
      await page.getByText("Desk lamp").waitFor();
      assert.equal(await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), true);
      const [download] = await Promise.all([
        page.waitForEvent("download"),
        page.getByRole("button", { name: /PDF/ }).click(),
      ]);
      assert.match(await readFile(await download.path(), "latin1"), /^%PDF-[^]*%%EOF\s*$/);
      assert.equal(download.suggestedFilename(), `${number}.pdf`);

      await page.getByRole("textbox").fill("Erika <b>Muster</b>");
      await page.getByRole("textbox").press("Enter");
      await page.getByText("Erika <b>Muster</b>").waitFor();
      await buyer.page.reload();
      await buyer.reads("Read by the supplier");
    });

    it("says of another link that it is not valid", async () => {
      const page = await together.guest(SMALL);
      await page.goto(`${together.stack.api}/supplier#1.${"x".repeat(43)}`);
      await page.getByRole("alert").getByText("not valid").waitFor();
    });
  });
}
