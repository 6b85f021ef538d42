import { defineConfig } from "orval";

export default defineConfig({
  "po-api": {
    input: "../openapi.json",
    output: { target: "build/orval.ts", client: "fetch", headers: true, baseUrl: { runtime: "process.env.API_URL" } },
  },
});
