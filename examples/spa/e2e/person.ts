// A user with a separate browser, who works with the app.

import type { BrowserContext, Locator, Page } from "playwright-core";

export const MODES = ["bearer", "cookie"] as const;
export type Mode = (typeof MODES)[number];

export class Person {
  private constructor(
    private readonly app: string,
    readonly mode: Mode,
    readonly context: BrowserContext,
    readonly page: Page,
  ) {}

  static async at(app: string, context: BrowserContext, mode: Mode): Promise<Person> {
    context.setDefaultTimeout(15_000);
    const person = new Person(app, mode, context, await context.newPage());
    await person.#open(person.page);
    return person;
  }

  async leave(): Promise<void> {
    await this.context.close();
  }

  /** Another tab of the same browser, signed in as this one is. */
  async anotherTab(): Promise<Page> {
    const tab = await this.context.newPage();
    await this.#open(tab);
    await tab.getByRole("heading", { name: "Requests" }).waitFor();
    return tab;
  }

  /** Up to the app's answer, whatever that is. */
  async signIn(email: string): Promise<void> {
    await this.press("Sign in");
    await this.nameOneself(email);
  }

  /** At the provider. */
  async nameOneself(email: string): Promise<void> {
    await this.page.getByLabel("E-mail address").fill(email);
    await this.press("Continue");
  }

  heading(text: string | RegExp): Locator {
    return this.page.getByRole("heading", { name: text });
  }

  button(name: string): Locator {
    return this.page.getByRole("button", { name, exact: true });
  }

  async press(name: string): Promise<void> {
    await this.button(name).click();
  }

  async follow(name: string): Promise<void> {
    await this.page.getByRole("link", { name }).click();
  }

  /** Waits until the page says so. */
  async reads(text: string | RegExp): Promise<void> {
    await this.page.getByText(text).first().waitFor();
  }

  /** Waits until the page shows this problem. */
  async problem(code: string): Promise<void> {
    await this.page.getByRole("alert").getByRole("link", { name: code, exact: true }).waitFor();
  }

  async found(organisation: string): Promise<void> {
    await this.page.getByLabel("Name").fill(organisation);
    await this.press("Found it");
    await this.heading("Requests").waitFor();
  }

  /** As an admin; up to the app's answer, whatever that is. */
  async invite(email: string, role: string): Promise<void> {
    await this.follow("Invitations");
    await this.page.getByLabel("E-mail address").fill(email);
    await this.page.getByLabel("Role").selectOption(role);
    await this.press("Invite");
  }

  /** A draft with two lines, by default of 298.80 in all; returns its number. */
  async raise(title: string, price = "20.00"): Promise<string> {
    await this.follow("Requests");
    await this.follow("Raise a request");
    await this.page.getByLabel("Title").fill(title);
    await this.press("Add a line");
    await this.line(1, "Desk lamp", "10", price);
    await this.line(2, "Bulb", "7", "7.00");
    await this.press("Save the draft");
    return (await this.heading(/draft/).innerText()).split(" ")[0] ?? "";
  }

  /** Approves and orders the request with this number; returns that of the order, which is issued. */
  async order(request: string): Promise<string> {
    await this.approve(request);
    await this.press("Convert to an order");
    await this.heading("Draft order").waitFor();
    return this.issue();
  }

  /** Approves a request of the inbox, which has this status then. */
  async approve(request: string, status = "approved"): Promise<void> {
    await this.follow("Waiting for me");
    await this.heading("Waiting for me").waitFor();
    await this.follow(request);
    await this.press("approve");
    await this.heading(`${request} ${status}`).waitFor();
  }

  /** The draft order; returns its number. */
  async issue(): Promise<string> {
    await this.press("issue");
    const issued = this.heading(/PO-\d{4}-\d{6} issued/);
    await issued.waitFor();
    return (await issued.innerText()).split(" ")[0] ?? "";
  }

  async line(number: number, description: string, quantity: string, price: string): Promise<void> {
    const line = this.page.getByRole("group", { name: `Line ${number}` });
    await line.getByLabel("Description").fill(description);
    await line.getByLabel("Quantity").fill(quantity);
    await line.getByLabel("Unit price").fill(price);
  }

  async #open(page: Page): Promise<void> {
    await page.goto(`${this.app}/?mode=${this.mode}`);
  }
}
