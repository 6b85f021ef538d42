/** Where the API is: said once, in index.html, where the content security policy needs it too. */
export const API = document.querySelector<HTMLMetaElement>("meta[name=po-api]")?.content ?? "";

/** Who keeps the tokens: this app ("bearer"), or the browser as cookies that no script can read (`?mode=cookie`). */
export const MODE = new URLSearchParams(location.search).get("mode") === "cookie" ? "cookie" : "bearer";
export const CREDENTIALS = MODE === "cookie" ? "include" : "omit";
