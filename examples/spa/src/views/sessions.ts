import { api } from "../api";
import { form } from "../attempt";
import { h, table, when } from "../dom";
import { go } from "../navigation";
import { ensure, unwrap } from "../problems";

/** Where one is signed in; each session can be ended, and is out at its next request. */
export async function sessionsView(): Promise<Node[]> {
  const { items } = unwrap(await api.GET("/api/v1/sessions"));
  const rows = items.map((session) => [
    session.user_agent ?? "unknown",
    session.ip_address ?? "unknown",
    when(session.last_seen_at ?? session.created_at),
    session.is_current ? "this one" : h("button", { value: String(session.id) }, "End"),
  ]);
  return [
    h("h1", {}, "Sessions"),
    form(end, table("Where you are signed in", ["Browser", "Address", "Last seen", ""], rows)),
  ];
}

async function end(_form: HTMLFormElement, pressed: string): Promise<void> {
  ensure(await api.DELETE("/api/v1/sessions/{session_id}", { params: { path: { session_id: Number(pressed) } } }));
  go("#/sessions");
}
