// One stack and one browser for all tests, since starting them takes longest.

import assert from "node:assert/strict";
import { type Browser, type BrowserContext, chromium, type Page, type ViewportSize } from "playwright-core";
import { type Mode, Person } from "./person";
import { Stack } from "./stack";

// No sandbox, because continuous integration is root; the rest keeps the browser from speaking to its maker.
const BROWSER_ARGUMENTS = [
  "--headless=new",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

interface Asked {
  method?: string;
  headers?: Record<string, string>;
  body?: unknown;
}

export class Together {
  #stack: Stack | undefined;
  #browser: Browser | undefined;
  #people: Person[] = [];
  #guests: BrowserContext[] = [];
  #faults: string[] = [];

  get stack(): Stack {
    return this.#stack!;
  }

  async begin(): Promise<void> {
    this.#stack = await Stack.start();
    this.#browser = await chromium.launch({
      executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium",
      args: BROWSER_ARGUMENTS,
    });
    await this.#letTheBuyerApprove();
  }

  async end(): Promise<void> {
    await this.#browser?.close();
    await this.#stack?.stop();
  }

  /** Somebody with a fresh browser profile, at the app's first page. */
  async visitor(mode: Mode, userAgent?: string): Promise<Person> {
    const context = await this.#browser!.newContext(userAgent === undefined ? {} : { userAgent });
    this.#watch(context);
    const person = await Person.at(this.stack.app, context, mode);
    this.#people.push(person);
    return person;
  }

  async signedIn(mode: Mode, email: string, userAgent?: string): Promise<Person> {
    const person = await this.visitor(mode, userAgent);
    await person.signIn(email);
    await person.heading("Requests").waitFor();
    return person;
  }

  /** A page of somebody who does not use the app. */
  async guest(viewport: ViewportSize): Promise<Page> {
    const context = await this.#browser!.newContext({ viewport });
    context.setDefaultTimeout(15_000);
    this.#watch(context);
    this.#guests.push(context);
    return context.newPage();
  }

  async everybodyLeaves(): Promise<void> {
    await Promise.all(this.#people.splice(0).map((person) => person.leave()));
    await Promise.all(this.#guests.splice(0).map((context) => context.close()));
    assert.deepEqual(this.#faults.splice(0), []);
  }

  /** Notes what no test should see: errors of the app, breaches of its policy, requests to hosts that it has no business with. */
  #watch(context: BrowserContext): void {
    const known = new Set([this.stack.app, this.stack.api, this.stack.provider.issuer]);
    context.on("weberror", (event) => this.#faults.push(String(event.error())));
    context.on("console", (message) => {
      if (message.text().includes("Content Security Policy")) this.#faults.push(message.text());
    });
    context.on("request", (request) => {
      const { origin, protocol } = new URL(request.url());
      if (protocol.startsWith("http") && !known.has(origin)) this.#faults.push(request.url());
    });
  }

  /** Lets a member decide for another one for an hour. */
  async delegate(from: string, to: string): Promise<void> {
    const [delegator, delegate] = [await this.#user(from), await this.#user(to)];
    const ends_at = new Date(Date.now() + 3_600_000).toISOString();
    const body = { delegator_id: delegator.id, delegate_id: delegate.id, ends_at };
    assert.equal((await this.#asAdmin("approval-delegations", { method: "POST", body })).status, 201);
  }

  /** So that two people can do the whole job. */
  async #letTheBuyerApprove(): Promise<void> {
    const { id, version } = await this.#user("buyer@demo.example");
    const body = { roles: ["approver", "buyer"] };
    const headers = { "If-Match": `"${version}"` };
    assert.equal((await this.#asAdmin(`users/${id}`, { method: "PATCH", headers, body })).status, 200);
  }

  async #user(email: string): Promise<{ id: number; version: number }> {
    return (await (await this.#asAdmin(`users?email=${email}`)).json()).items[0];
  }

  async #asAdmin(path: string, { method = "GET", headers = {}, body }: Asked = {}): Promise<Response> {
    const Authorization = `Bearer ${await this.stack.token("admin@demo.example")}`;
    return fetch(`${this.stack.api}/api/v1/${path}`, {
      method,
      headers: { Authorization, "Content-Type": "application/json", ...headers },
      body: body === undefined ? null : JSON.stringify(body),
    });
  }
}
