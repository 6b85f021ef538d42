// An admin invites by address; the invited person sees it after signing in, and decides.

import { describe, it } from "node:test";
import { MODES, type Person } from "./person";
import type { Together } from "./together";

const ADMIN = "admin@demo.example";
const INVITATION = "Demo Organisation invites you";

export function invitations(together: Together): void {
  describe("invitations", () => {
    for (const mode of MODES) {
      it(`somebody without an organisation accepts, ${mode} mode`, async () => {
        const email = `accepts-${mode}@new.example`;
        const admin = await together.signedIn(mode, ADMIN);
        await invite(admin, email, "auditor");

        const invited = await together.visitor(mode);
        await invited.signIn(email);
        await invited.heading(INVITATION).waitFor();
        await invited.heading("Found an organisation").waitFor();
        await invited.press("Accept");
        await invited.heading("Requests").waitFor();
        await invited.reads("(auditor)");
        await isAnswered(admin, email);
      });
    }

    it("a member of another organisation declines; invited again, leaves it and accepts", async () => {
      const email = "member@other.example";
      const admin = await together.signedIn("cookie", ADMIN);
      const member = await memberElsewhere(email);
      await invite(admin, email, "buyer");
      await member.page.reload();
      await member.press("Decline");
      await member.heading(INVITATION).waitFor({ state: "detached" });
      await member.reads("(requester)");
      await isAnswered(admin, email);

      await invite(admin, email, "buyer");
      await member.page.reload();
      await member.reads("Accepting means leaving Other Ltd");
      await member.press("Accept");
      // The browser points at the box, and nothing was sent.
      await member.page.locator("[name='/leave']:focus:invalid").waitFor();
      await member.page.getByLabel("Leave Other Ltd").check();
      await member.press("Accept");
      await member.reads("(buyer)");
    });

    it("what was revoked can no longer be accepted", async () => {
      const email = "revoked@new.example";
      const admin = await together.signedIn("cookie", ADMIN);
      await invite(admin, email, "requester");
      const invited = await together.visitor("cookie");
      await invited.signIn(email);
      await invited.heading(INVITATION).waitFor();
      await row(admin, email).getByRole("button", { name: "Revoke" }).click();
      await row(admin, email).waitFor({ state: "detached" });
      await invited.press("Accept");
      await invited.problem("invitation_not_found");
    });

    it("who is a member already is not invited", async () => {
      const admin = await together.signedIn("cookie", ADMIN);
      await admin.invite("buyer@demo.example", "approver");
      await admin.problem("already_in_organisation");
    });
  });

  /** A requester in the organisation Other Ltd. */
  async function memberElsewhere(email: string): Promise<Person> {
    const founder = await together.visitor("cookie");
    await founder.signIn("founder@other.example");
    await founder.found("Other Ltd");
    await invite(founder, email, "requester");
    const member = await together.visitor("cookie");
    await member.signIn(email);
    await member.press("Accept");
    await member.heading("Requests").waitFor();
    return member;
  }
}

const row = ({ page }: Person, email: string) => page.getByRole("row", { name: email });

async function invite(admin: Person, email: string, role: string): Promise<void> {
  await admin.invite(email, role);
  await row(admin, email).waitFor();
}

/** Waits until the invitation is not among the open ones. */
async function isAnswered(admin: Person, email: string): Promise<void> {
  await admin.page.reload();
  await admin.heading("Invitations").waitFor();
  await row(admin, email).waitFor({ state: "detached" });
}
