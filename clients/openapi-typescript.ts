// The command of openapi-typescript makes strings of files; this is its way to have them as Blobs.

import { writeFile } from "node:fs/promises";
import openapiTS, { astToString } from "openapi-typescript";
import ts from "typescript";

const blob = ts.factory.createTypeReferenceNode("Blob");
const types = await openapiTS(new URL("../openapi.json", import.meta.url), {
  defaultNonNullable: false,
  transform: (schema) => (schema.format === "binary" ? blob : undefined),
});
await writeFile("build/openapi-typescript.ts", astToString(types));
