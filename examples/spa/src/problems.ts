// Responses of the API: a body, or a problem (RFC 9457).

import type { components } from "../build/api";

export type Problem = components["schemas"]["Problem"];

interface Answer<T> {
  data?: T;
  error?: Problem;
  response: Response;
}

/** A body, and the ETag that its next change takes. */
export interface Versioned<T> {
  body: T;
  etag: string;
}

export class ApiError extends Error {
  constructor(readonly problem: Problem) {
    super(problem.detail);
  }
}

/** A problem is thrown. */
export function ensure({ error }: Answer<unknown>): void {
  if (error !== undefined) throw new ApiError(error);
}

/** The answer's body. */
export function unwrap<T>(answer: Answer<T>): T {
  ensure(answer);
  if (answer.data === undefined) throw new Error("The answer is empty.");
  return answer.data;
}

/** The answer's body and its ETag. */
export function versioned<T>(answer: Answer<T>): Versioned<T> {
  return { body: unwrap(answer), etag: answer.response.headers.get("ETag") ?? "" };
}
