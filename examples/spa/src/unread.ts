// How many notifications are unread. It is asked often: as long as the number stays, the answer is an empty 304.

import { api } from "./api";
import { h } from "./dom";
import { versioned } from "./problems";

const POLL_MILLISECONDS = 30_000;
// The API counts no further.
const MANY = 1000;

const badge = h("span", { className: "badge", hidden: true });
const link = h("a", { href: "#/notifications" }, "Notifications ", badge);
let etag: string | null = null;

/** The link to one's notifications, with their number, which comes a moment later. */
export function notificationsLink(): Node {
  void look();
  return link;
}

/** Asks again. An error is not worth a word: the user's next action will have it, too. */
export async function look(): Promise<void> {
  await count().catch(() => {});
}

async function count(): Promise<void> {
  const header = etag === null ? {} : { "If-None-Match": etag };
  const answer = await api.GET("/api/v1/notifications/count", { params: { header } });
  if (answer.response.status === 304) return;
  const counted = versioned(answer);
  etag = counted.etag;
  show(counted.body.unread);
}

function show(unread: number): void {
  badge.hidden = unread === 0;
  badge.textContent = unread < MANY ? String(unread) : `${MANY}+`;
  link.ariaLabel = unread === 0 ? null : `Notifications, ${badge.textContent} unread`;
}

/** Not in tabs that nobody looks at, whose sessions would never end. */
function lookAgain(): void {
  if (link.isConnected && document.visibilityState === "visible") void look();
}

setInterval(lookAgain, POLL_MILLISECONDS);
document.addEventListener("visibilitychange", lookAgain);
