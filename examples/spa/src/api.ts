// The API's client, made from openapi.json, with the session in its fetch.

import createClient from "openapi-fetch";
import type { components, paths } from "../build/api";
import { authorizedFetch, forget } from "./auth";
import { API, CREDENTIALS } from "./config";
import { ensure, unwrap } from "./problems";

export type Schemas = components["schemas"];

export const api = createClient<paths>({ baseUrl: API, credentials: CREDENTIALS, fetch: authorizedFetch });

export async function me(): Promise<Schemas["Me"]> {
  return unwrap(await api.GET("/api/v1/users/me"));
}

export async function signOut(): Promise<void> {
  ensure(await api.DELETE("/api/v1/sessions/current"));
  forget();
}

/** The header of a form's requests: who sends it again because no answer came does not do it twice. */
export const once = () => ({ "Idempotency-Key": crypto.randomUUID() });

/** The headers of changing an item of a list; its ETag is its version in quotes. */
export const changing = ({ version }: { version: number }) => ({ "If-Match": `"${version}"`, ...once() });
