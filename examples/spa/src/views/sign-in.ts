import { form } from "../attempt";
import { signIn } from "../auth";
import { API, MODE } from "../config";
import { h, link, words } from "../dom";

/** `reason` is a problem's code, from the API or from this app. */
export async function signInView(reason?: string, requestId?: string): Promise<Node[]> {
  return [
    h("h1", {}, "Purchase orders"),
    ...(reason === undefined ? [] : [said(reason, requestId)]),
    form(signIn, h("button", {}, "Sign in")),
    MODE === "bearer"
      ? h("p", { className: "small" }, "This app keeps the tokens. ", link("?mode=cookie", "Keep them in cookies"))
      : h("p", { className: "small" }, "Cookies keep the tokens. ", link("?mode=bearer", "Keep them in this app")),
  ];
}

function said(reason: string, requestId: string | undefined): Node {
  if (reason === "session_ended") return h("p", { role: "status" }, "Your session has ended. Please sign in again.");
  return h(
    "section",
    { role: "alert" },
    h("h2", {}, `You could not be signed in: ${words(reason)}`),
    h(
      "p",
      { className: "small" },
      "Code ",
      link(`${API}/docs/errors/${reason}`, reason),
      ` · request ${requestId ?? "unknown"}`,
    ),
  );
}
