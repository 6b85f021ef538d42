import { defineConfig } from "@hey-api/openapi-ts";

export default defineConfig({
  input: "../openapi.json",
  output: { path: "build/hey-api", module: { extension: ".ts" } },
  logs: { file: false, level: "warn" },
});
