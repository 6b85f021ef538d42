// ID tokens that must be refused: made from a valid one, signed with any key and algorithm.

import { createHmac, generateKeyPairSync, type KeyObject, sign } from "node:crypto";

export type Claims = Record<string, unknown>;
type Algorithm = "RS256" | "HS256" | "none";

/** A signing key and the id under which the provider publishes it. */
export interface SigningKey {
  id: string;
  privateKey: KeyObject;
  publicKey: KeyObject;
}

let made = 0;

export function makeKey(): SigningKey {
  return { id: `key-${++made}`, ...generateKeyPairSync("rsa", { modulusLength: 2048 }) };
}

export const claimsOf = (token: string): Claims =>
  JSON.parse(Buffer.from(token.split(".")[1] ?? "", "base64url").toString());

export function signed(claims: Claims, key: SigningKey, alg: Algorithm = "RS256"): string {
  const text = [{ alg, kid: key.id, typ: "JWT" }, claims]
    .map((part) => Buffer.from(JSON.stringify(part)).toString("base64url"))
    .join(".");
  return `${text}.${signature(text, key, alg).toString("base64url")}`;
}

function signature(text: string, { privateKey, publicKey }: SigningKey, alg: Algorithm): Buffer {
  if (alg === "RS256") return sign("RSA-SHA256", Buffer.from(text), privateKey);
  // Algorithm confusion: the public key used as an HMAC secret.
  if (alg === "HS256")
    return createHmac("sha256", publicKey.export({ type: "spki", format: "pem" }))
      .update(text)
      .digest();
  return Buffer.alloc(0);
}
