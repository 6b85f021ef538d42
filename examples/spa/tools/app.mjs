// Builds the app into build/app, or serves it while one works on it: node tools/app.mjs build|serve

import * as esbuild from "esbuild";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { basename, extname, join } from "node:path";

const { PO_API_URL = "http://localhost:8000", PORT = "5173" } = process.env;

/** The page and its content security policy name the only host that the app speaks to. */
const page = {
  name: "page",
  setup: ({ onLoad }) =>
    onLoad({ filter: /\/index\.html$/ }, async ({ path }) => {
      const template = await readFile(path, "utf8");
      return { contents: template.replaceAll("{{API}}", new URL(PO_API_URL).origin), loader: "copy" };
    }),
};

const options = {
  absWorkingDir: join(import.meta.dirname, ".."),
  entryPoints: [
    { in: "src/main.ts", out: "app" },
    { in: "src/app.css", out: "app" },
    { in: "index.html", out: "index" },
  ],
  outdir: "build/app",
  bundle: true,
  format: "esm",
  target: "es2022",
  logLevel: "warning",
  plugins: [page],
};

const TYPES = { ".css": "text/css", ".html": "text/html; charset=utf-8", ".js": "text/javascript" };

/** Each load of the page builds the app anew. esbuild's own server would outlive this process. */
async function serve() {
  const context = await esbuild.context({ ...options, write: false });
  let files = [];
  const server = createServer(async ({ url }, response) => {
    const name = basename(url.split("?")[0]) || "index.html";
    if (name === "index.html")
      files = await context.rebuild().then(
        (it) => it.outputFiles,
        () => files,
      );
    const found = files.find(({ path }) => basename(path) === name);
    response
      .writeHead(found ? 200 : 404, { "Content-Type": TYPES[extname(name)] ?? "text/plain" })
      .end(found?.contents);
  });
  server.listen(Number(PORT), "127.0.0.1", () => console.log(`http://localhost:${PORT} for the API at ${PO_API_URL}`));
}

await (process.argv[2] === "serve" ? serve() : esbuild.build({ ...options, minify: true }));
