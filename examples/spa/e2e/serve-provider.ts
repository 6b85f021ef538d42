// `npm run provider`: the identity provider of the tests, to sign in with while one works on the app.

import { CLIENT, IdentityProvider } from "./provider";

const {
  OIDC_ISSUER = "http://localhost:9000",
  GOOGLE_REDIRECT_URI = "http://localhost:8000/api/v1/sessions/oidc/callback",
} = process.env;

await new IdentityProvider(OIDC_ISSUER, GOOGLE_REDIRECT_URI).start();
console.log(`OIDC_ISSUER=${OIDC_ISSUER}
GOOGLE_CLIENT_ID=${CLIENT.id}
GOOGLE_CLIENT_SECRET=${CLIENT.secret}
GOOGLE_REDIRECT_URI=${GOOGLE_REDIRECT_URI}
FRONTEND_URL=http://localhost:5173
CORS_ORIGINS=http://localhost:5173`);
