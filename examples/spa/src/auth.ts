// Signing in and out, and a session that stays fresh while one works.

import createClient from "openapi-fetch";
import type { components, paths } from "../build/api";
import { API, CREDENTIALS, MODE } from "./config";
import { unwrap } from "./problems";

type SessionTokens = components["schemas"]["SessionTokens"];

/** What this app keeps of a session; in cookie mode the tokens are null and the browser has them. */
interface Session {
  accessToken: string | null;
  refreshToken: string | null;
  refreshAt: number;
}

/** The session is over, and refreshing it did not help. */
export class SignedOut extends Error {}

/** The parts of the API that need no session, or are about to make one. */
const open = createClient<paths>({ baseUrl: API, credentials: CREDENTIALS, headers: { "X-CSRF": "1" } });

// All tabs share one session, so localStorage: sessionStorage is copied to a duplicated tab, whose copy of the refresh
// token would soon be an old one, and using an old one ends the session.
const SESSION = `po-api.session.${MODE}`;
const VERIFIER = "po-api.code_verifier";
// Early enough for the next request, late enough that an idle tab does not refresh.
const REFRESH_AFTER = 0.8;

const stored = (): string | null => localStorage.getItem(SESSION);
const parsed = (session: string | null): Session | null => session && JSON.parse(session);

/** Calls `left` when another tab signed out. */
export function onSignOutElsewhere(left: () => void): void {
  addEventListener("storage", ({ key, newValue }) => {
    if (key === SESSION && newValue === null) left();
  });
}

export function forget(): void {
  localStorage.removeItem(SESSION);
}

/** Leaves for the identity provider, by way of the API, which returns to this page. */
export async function signIn(): Promise<void> {
  const return_to = location.origin + location.pathname + location.search;
  location.assign(MODE === "bearer" ? await authorizationUrl(return_to) : cookieStart(return_to));
}

/** Bearer mode: this page asks for the URL itself, so that the challenge is that of the verifier that it keeps. */
async function authorizationUrl(return_to: string): Promise<string> {
  const verifier = base64url(crypto.getRandomValues(new Uint8Array(32)));
  const body = { return_to, code_challenge: base64url(await sha256(verifier)) };
  const { authorization_url } = unwrap(await open.POST("/api/v1/sessions/oidc/start", { body }));
  sessionStorage.setItem(VERIFIER, verifier);
  return authorization_url;
}

function cookieStart(return_to: string): string {
  // The expiry of cookies is not readable; it is in the response to a refresh, which is due at once.
  store({ accessToken: null, refreshToken: null, refreshAt: 0 });
  return `${API}/api/v1/sessions/oidc/start?${new URLSearchParams({ return_to })}`;
}

/** Bearer mode: the code that came back and the verifier that stayed here become tokens, if this tab started. */
export async function exchange(code: string): Promise<boolean> {
  const code_verifier = sessionStorage.getItem(VERIFIER);
  sessionStorage.removeItem(VERIFIER);
  // Otherwise this is a link with the code of another sign-in, which is of no use here.
  if (code_verifier === null) return false;
  keep(unwrap(await open.POST("/api/v1/sessions/oidc/exchange", { body: { code, code_verifier } })));
  return true;
}

/** `fetch` with the session: refreshed when it is due or was refused, and then the request is repeated once. */
export async function authorizedFetch(request: Request): Promise<Response> {
  const repeat = request.clone();
  let session = stored();
  if (isDue(session)) session = await refreshed(session);
  const answer = await fetch(authorized(request, session));
  if (answer.status !== 401) return answer;

  const again = await fetch(authorized(repeat, await refreshed(session)));
  if (again.status === 401) throw ended();
  return again;
}

function authorized(request: Request, session: string | null): Request {
  const token = parsed(session)?.accessToken;
  if (token) request.headers.set("Authorization", `Bearer ${token}`);
  if (MODE === "cookie" && request.method !== "GET") request.headers.set("X-CSRF", "1");
  return request;
}

function isDue(session: string | null): boolean {
  return (parsed(session)?.refreshAt ?? 0) <= Date.now();
}

/** The session after `spent`. One refresh at a time among all tabs: who had to wait finds the new tokens there. */
async function refreshed(spent: string | null): Promise<string> {
  return navigator.locks.request(SESSION, async () => {
    const current = stored();
    if (current !== null && current !== spent) return current;
    if (current === null) throw ended();

    const refresh_token = parsed(current)?.refreshToken;
    const answer = await open.POST("/api/v1/sessions/refresh", refresh_token ? { body: { refresh_token } } : {});
    if (answer.response.status === 401) throw ended();
    return keep(unwrap(answer));
  });
}

function keep(tokens: SessionTokens): string {
  return store({
    accessToken: tokens.access_token,
    refreshToken: tokens.refresh_token,
    refreshAt: Date.now() + tokens.expires_in * 1000 * REFRESH_AFTER,
  });
}

function store(session: Session): string {
  const text = JSON.stringify(session);
  localStorage.setItem(SESSION, text);
  return text;
}

function ended(): SignedOut {
  forget();
  return new SignedOut();
}

async function sha256(text: string): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));
}

function base64url(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes))
    .replaceAll("+", "-")
    .replaceAll("/", "_")
    .replaceAll("=", "");
}
