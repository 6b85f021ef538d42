// Runs the user's actions and shows their errors.

import { SignedOut } from "./auth";
import { API } from "./config";
import { h, link } from "./dom";
import { go } from "./navigation";
import { ApiError, type Problem } from "./problems";

const region = document.querySelector<HTMLElement>("#problem")!;

/** Does `work`; `form` is busy meanwhile, and its fields are marked where the problem points at them. */
export async function attempt(work: () => Promise<void>, form?: HTMLFormElement): Promise<void> {
  const place = form ?? document.body;
  if (form?.ariaBusy === "true") return;
  place.ariaBusy = "true";
  say([], form);
  try {
    await work();
  } catch (error) {
    if (error instanceof SignedOut) go(location.hash ? "#/sign-in/session_ended" : "#/sign-in");
    else if (error instanceof ApiError) say([explained(error.problem)], form, error.problem.errors);
    else say([h("p", {}, `The API cannot be reached, or this app is wrong. ${String(error)}`)], form);
  } finally {
    place.ariaBusy = null;
  }
}

/** A form that attempts what it says on submit; the button that was pressed is handed on. */
export function form(
  submitted: (form: HTMLFormElement, pressed: string) => Promise<void>,
  ...children: Node[]
): HTMLFormElement {
  const element = h("form", {}, ...children);
  element.addEventListener("submit", (event) => {
    event.preventDefault();
    const pressed = event.submitter instanceof HTMLButtonElement ? event.submitter.value : "";
    void attempt(() => submitted(element, pressed), element);
  });
  return element;
}

function say(what: Node[], form: HTMLFormElement | undefined, errors: Problem["errors"] = []): void {
  region.replaceChildren(...what);
  for (const control of form?.elements ?? []) {
    const found = errors.findIndex((error) => error.pointer === control.getAttribute("name"));
    control.ariaInvalid = found < 0 ? null : "true";
    if (found < 0) control.removeAttribute("aria-describedby");
    else control.setAttribute("aria-describedby", `problem-${found}`);
  }
}

const STALE = 412;

function explained({ title, status, detail, code, request_id, errors }: Problem): Node {
  const reload = h("button", { onclick: () => go(location.hash) }, "Show it as it is now");
  return h(
    "section",
    {},
    h("h2", {}, title),
    ...(detail === title ? [] : [h("p", {}, detail)]),
    h(
      "ul",
      {},
      ...errors.map((error, index) =>
        h("li", { id: `problem-${index}` }, h("code", {}, error.pointer), ` ${error.detail}`),
      ),
    ),
    ...(status === STALE ? [reload] : []),
    h("p", { className: "small" }, "Code ", link(`${API}/docs/errors/${code}`, code), ` · request ${request_id}`),
  );
}
