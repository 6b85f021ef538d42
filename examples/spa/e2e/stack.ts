// The servers of the test on the loopback interface: the API with a temporary database, the app and the provider.

import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { promisify } from "node:util";
import { CLIENT, IdentityProvider } from "./provider";

const PO_API = resolve("../../.venv/bin/po-api");
const START_SECONDS = 90;
const STOP_SECONDS = 20;
const PLENTY = "100000/minute";
/** Short enough that tokens expire while one works. */
export const TOKEN_SECONDS = 5;

export class Stack {
  readonly #processes: ChildProcess[] = [];

  private constructor(
    readonly api: string,
    readonly app: string,
    readonly provider: IdentityProvider,
    private readonly folder: string,
  ) {}

  static async start(): Promise<Stack> {
    const [api = "", app = "", issuer = ""] = (await freePorts(3)).map((port) => `http://localhost:${port}`);
    const provider = new IdentityProvider(issuer, `${api}/api/v1/sessions/oidc/callback`);
    const stack = new Stack(api, app, provider, await mkdtemp(join(tmpdir(), "po-api-e2e-")));
    // Whatever ends this process, nothing that it started outlives it.
    process.once("exit", () => stack.#processes.forEach((it) => it.kill()));
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(1));
    try {
      await stack.#start();
      return stack;
    } catch (error) {
      await stack.stop();
      throw error;
    }
  }

  async stop(): Promise<void> {
    this.provider.stop();
    await Promise.all(this.#processes.map(ended));
    await rm(this.folder, { recursive: true, force: true });
  }

  /** A token as `po-api` gives it to developers, for what people do not do in the app. */
  async token(email: string): Promise<string> {
    const options = { cwd: this.folder, env: this.#environment() };
    return (await promisify(execFile)(PO_API, ["sessions", "create", "--email", email], options)).stdout.trim();
  }

  /** The link in the mail with an order, which the demo writes into a directory. */
  async linkOf(number: string): Promise<string> {
    const directory = join(this.folder, "data", "mail");
    const name = (await readdir(directory)).find((it) => it.startsWith(`${number}-`)) ?? "";
    const mail = (await readFile(join(directory, name), "latin1")).replace(/=\r?\n/g, "").replace(/=3D/g, "=");
    return /\S+\/supplier#\S+/.exec(mail)?.[0] ?? "";
  }

  async #start(): Promise<void> {
    await this.provider.start();
    const api = this.#spawn(PO_API, ["serve", "--demo"], this.folder, this.#environment());
    const app = this.#spawn(process.execPath, ["tools/app.mjs", "serve"], ".", {
      PO_API_URL: this.api,
      PORT: new URL(this.app).port,
    });
    await Promise.all([answers(`${this.api}/health/ready`, api), answers(this.app, app)]);
  }

  #spawn(command: string, commandArguments: string[], cwd: string, environment: NodeJS.ProcessEnv): ChildProcess {
    const env = { PATH: process.env["PATH"], HOME: process.env["HOME"], ...environment };
    const started = spawn(command, commandArguments, { cwd, env, stdio: ["ignore", "ignore", "pipe"] });
    this.#processes.push(started);
    return started;
  }

  #environment(): NodeJS.ProcessEnv {
    return {
      PATH: process.env["PATH"],
      HOME: process.env["HOME"],
      PO_DATA_DIR: join(this.folder, "data"),
      PORT: new URL(this.api).port,
      OIDC_ISSUER: this.provider.issuer,
      GOOGLE_CLIENT_ID: CLIENT.id,
      GOOGLE_CLIENT_SECRET: CLIENT.secret,
      GOOGLE_REDIRECT_URI: `${this.api}/api/v1/sessions/oidc/callback`,
      FRONTEND_URL: this.app,
      PUBLIC_URL: this.api,
      CORS_ORIGINS: this.app,
      JWT_ACCESS_TOKEN_EXPIRES: String(TOKEN_SECONDS),
      RATE_LIMIT_PER_USER: PLENTY,
      RATE_LIMIT_PER_ADDRESS: PLENTY,
      RATE_LIMIT_SIGN_IN: PLENTY,
      RATE_LIMIT_REFRESH: PLENTY,
    };
  }
}

async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, "127.0.0.1"));
  await Promise.all(servers.map((it) => once(it, "listening")));
  const ports = servers.map((it) => (it.address() as { port: number }).port);
  await Promise.all(servers.map((it) => once(it.close(), "close")));
  return ports;
}

/** Waits until `url` answers well; what the process said goes into the error if it never does. */
async function answers(url: string, server: ChildProcess): Promise<void> {
  let said = "";
  server.stderr?.on("data", (text) => (said = (said + text).slice(-4000)));
  const deadline = Date.now() + START_SECONDS * 1000;
  while (server.exitCode === null && Date.now() < deadline) {
    if (
      await fetch(url).then(
        (it) => it.ok,
        () => false,
      )
    )
      return;
    await pause(100);
  }
  throw new Error(`${server.spawnargs.join(" ")} does not answer at ${url}:\n${said}`);
}

async function ended(started: ChildProcess): Promise<void> {
  if (started.exitCode !== null || started.signalCode !== null) return;
  const exit = once(started, "exit");
  const last = setTimeout(() => started.kill("SIGKILL"), STOP_SECONDS * 1000);
  started.kill("SIGTERM");
  await exit;
  clearTimeout(last);
  // Its child processes may keep the other end open a little longer.
  started.stderr?.destroy();
}
