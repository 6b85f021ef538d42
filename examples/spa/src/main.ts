// The views by their addresses, and the start of the app.

import { me, type Schemas, signOut } from "./api";
import { attempt } from "./attempt";
import { exchange, onSignOutElsewhere } from "./auth";
import { h, link } from "./dom";
import { go } from "./navigation";
import { notificationsLink } from "./unread";
import { approvalsView } from "./views/approvals";
import { homeView } from "./views/home";
import { invitationsView } from "./views/invitations";
import { notificationsView } from "./views/notifications";
import { orderView } from "./views/order";
import { porfView } from "./views/porf";
import { raiseView } from "./views/raise";
import { sessionsView } from "./views/sessions";
import { signInView } from "./views/sign-in";

const VIEWS: Record<string, (user: Schemas["Me"], ...parameters: string[]) => Promise<Node[]>> = {
  porf: (user, id = "") => porfView(user, id),
  order: (user, id = "") => orderView(user, id),
  raise: raiseView,
  approvals: approvalsView,
  notifications: notificationsView,
  invitations: invitationsView,
  sessions: sessionsView,
};

const page = document.querySelector("main")!;
const bar = document.querySelector("header")!;
let drawn = 0;

/** Shows the view of the address. Meanwhile nobody can act on the view that is about to go. */
async function draw(): Promise<void> {
  const drawing = ++drawn;
  page.inert = true;
  try {
    await fill(() => drawing === drawn);
  } finally {
    page.inert = drawing !== drawn;
    page.focus();
  }
}

/** Fills the page, unless another address was asked for while its data came. */
async function fill(wanted: () => boolean): Promise<void> {
  const [name = "", ...parameters] = location.hash.split("/").slice(1).map(decodeURIComponent);
  const user = name === "sign-in" ? null : await me();
  if (wanted()) bar.replaceChildren(...(user === null ? [] : navigation(user)));
  const nodes = await (user === null ? signInView(...parameters) : viewFor(user, name)(user, ...parameters));
  if (!wanted()) return;
  page.replaceChildren(...nodes);
  document.title = page.querySelector("h1")?.textContent ?? document.title;
}

function viewFor(user: Schemas["Me"], name: string): (typeof VIEWS)[string] {
  const view = VIEWS[name] ?? homeView;
  return user.organisation_id === null && view !== sessionsView ? homeView : view;
}

function navigation(user: Schemas["Me"]): Node[] {
  const leave = h("button", {}, "Sign out");
  leave.onclick = () =>
    attempt(async () => {
      await signOut();
      go("#/sign-in");
    });
  return [
    h(
      "nav",
      {},
      link("#/porfs", "Requests"),
      ...(user.roles.includes("approver") ? [link("#/approvals", "Waiting for me")] : []),
      ...(user.organisation_id === null ? [] : [notificationsLink()]),
      ...(user.roles.includes("admin") ? [link("#/invitations", "Invitations")] : []),
      link("#/sessions", "Sessions"),
    ),
    h("span", {}, `${user.name} (${user.roles.join(", ") || "no role"})`),
    leave,
  ];
}

/** What the API sent along with the browser: a code for tokens, or why there is none. */
async function arrive(): Promise<void> {
  const sent = new URLSearchParams(location.hash.slice(1));
  const [code, error] = [sent.get("sign_in_code"), sent.get("error")];
  if (error !== null)
    show(`#/sign-in/${encodeURIComponent(error)}/${encodeURIComponent(sent.get("request_id") ?? "")}`);
  if (code !== null) {
    show("#/sign-in");
    await draw();
    show((await exchange(code)) ? "#/porfs" : location.pathname + location.search);
  }
  await draw();
}

/** Puts another address in the place of this one, so that no code stays in the history. */
const show = (address: string): void => history.replaceState(null, "", address);

addEventListener("hashchange", () => attempt(draw));
onSignOutElsewhere(() => go("#/sign-in/session_ended"));
void attempt(arrive);
