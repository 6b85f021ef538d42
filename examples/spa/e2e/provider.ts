// A local identity provider: any user can be entered on its login page. It can return invalid tokens.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { APIRequestContext } from "playwright-core";
import Provider, { type Configuration, type KoaContextWithOIDC } from "oidc-provider";
import { type Claims, claimsOf, makeKey, type SigningKey } from "./id-tokens";

export const CLIENT = { id: "po-api", secret: "no-secret-on-this-machine" };

/** Makes another ID token of the one that the provider is about to send. */
export type Lie = (claims: Claims, key: SigningKey) => string;

export class IdentityProvider {
  lie: Lie | undefined;
  #key = makeKey();
  #provider: Provider;
  readonly #server: Server;

  constructor(
    readonly issuer: string,
    private readonly redirectUri: string,
  ) {
    this.#provider = this.#make();
    this.#server = createServer((request, response) => void this.#answer(request, response));
  }

  start(): Promise<void> {
    const { port } = new URL(this.issuer);
    return new Promise((resolve) => this.#server.listen(Number(port), "127.0.0.1", resolve));
  }

  stop(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  /** An ID token for a page that has signed this user in by itself, as a page with Google's button does. */
  async idToken(request: APIRequestContext, email: string, nonce: string): Promise<string> {
    const client = { client_id: CLIENT.id, redirect_uri: this.#page };
    const query = new URLSearchParams({ ...client, response_type: "code", scope: "openid email profile", nonce });
    const login = await request.get(`${this.issuer}/auth?${query}`);
    const page = new URL((await request.post(login.url(), { form: { email } })).url());
    const code = page.searchParams.get("code") ?? "";
    const form = { ...client, client_secret: CLIENT.secret, grant_type: "authorization_code", code };
    return (await (await request.post(`${this.issuer}/token`, { form })).json()).id_token;
  }

  /** Signs with another key from now on, and publishes no other; returns the old one. */
  rotateKey(): SigningKey {
    const old = this.#key;
    this.#key = makeKey();
    this.#provider = this.#make();
    return old;
  }

  /** The address of that page, where nothing is. */
  get #page(): string {
    return `${this.issuer}/page`;
  }

  #make(): Provider {
    const provider = new Provider(this.issuer, this.#configuration());
    provider.use(async (context, next) => {
      await next();
      this.#tamper(context as KoaContextWithOIDC);
    });
    return provider;
  }

  #configuration(): Configuration {
    const jwk = { ...this.#key.privateKey.export({ format: "jwk" }), kid: this.#key.id, alg: "RS256", use: "sig" };
    return {
      clients: [{ client_id: CLIENT.id, client_secret: CLIENT.secret, redirect_uris: [this.redirectUri, this.#page] }],
      jwks: { keys: [jwk] } as NonNullable<Configuration["jwks"]>,
      ttl: { AccessToken: 60, Grant: 600, IdToken: 60, Interaction: 600, Session: 600 },
      cookies: { keys: ["cookies of this machine"] },
      claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["name"] },
      // po-api reads the ID token only, as Google fills it.
      conformIdTokenClaims: false,
      features: { devInteractions: { enabled: false } },
      findAccount: (_context, email) => ({
        accountId: email,
        claims: () => ({ sub: email, email, email_verified: true, name: nameOf(email) }),
      }),
      loadExistingGrant: granted,
    };
  }

  #tamper(context: KoaContextWithOIDC): void {
    const body = context.body as { id_token?: string } | undefined;
    if (this.lie && context.oidc?.route === "token" && body?.id_token)
      body.id_token = this.lie(claimsOf(body.id_token), this.#key);
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    if (!request.url?.startsWith("/interaction/")) return this.#provider.callback()(request, response);
    if (request.method === "POST") {
      const email = new URLSearchParams(await text(request)).get("email") ?? "";
      return this.#provider.interactionFinished(request, response, { login: { accountId: email } });
    }
    response.setHeader("Content-Type", "text/html; charset=utf-8").end(LOGIN_PAGE);
  }
}

const LOGIN_PAGE = `<!doctype html>
<html lang="en">
  <title>Who are you?</title>
  <form method="post">
    <p><label>E-mail address <input name="email" type="email" required autofocus></label> <button>Continue</button></p>
  </form>
</html>
`;

const nameOf = (email: string): string => email.split("@")[0] ?? email;

/** The only client is this machine's own: nobody is asked whether it may know what it asks for. */
const granted: NonNullable<Configuration["loadExistingGrant"]> = async ({ oidc }) => {
  const { session, client, params, provider } = oidc;
  const grant = new provider.Grant({ accountId: session!.accountId!, clientId: client!.clientId });
  grant.addOIDCScope(String(params!["scope"]));
  await grant.save();
  return grant;
};

async function text(stream: AsyncIterable<Buffer>): Promise<string> {
  let read = "";
  for await (const part of stream) read += part.toString();
  return read;
}
