// Elements from data. Nothing here takes markup, so nothing that a user typed can become any.

type Child = Node | string;

/** An element with these properties and children. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  properties: Partial<HTMLElementTagNameMap[K]> = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

export const link = (href: string, text: string): HTMLAnchorElement => h("a", { href }, text);

export const field = (label: string, control: HTMLElement): HTMLLabelElement =>
  h("label", {}, h("span", {}, label), control);

export const input = (name: string, properties: Partial<HTMLInputElement> = {}): HTMLInputElement =>
  h("input", { name, id: name, required: true, autocomplete: "off", ...properties });

export const checkbox = (name: string, label: string): HTMLLabelElement =>
  h("label", { className: "check" }, input(name, { type: "checkbox" }), h("span", {}, label));

export function select(name: string, options: [value: string, text: string][]): HTMLSelectElement {
  return h("select", { name, id: name }, ...options.map(([value, text]) => h("option", { value }, text)));
}

export function table(caption: string, head: string[], rows: Child[][]): HTMLElement {
  const header = h("tr", {}, ...head.map((text) => h("th", { scope: "col" }, text)));
  const body = rows.map((cells) => h("tr", {}, ...cells.map((cell, column) => td(cell, head[column] ?? ""))));
  return h("table", {}, h("caption", {}, caption), h("thead", {}, header), h("tbody", {}, ...body));
}

/** A narrow screen shows the label beside the cell, below one another. */
function td(cell: Child, label: string): HTMLElement {
  const element = h("td", {}, cell);
  if (label) element.dataset["label"] = label;
  return element;
}

export function facts(entries: Record<string, string | null>): HTMLElement {
  const known = Object.entries(entries).filter((entry): entry is [string, string] => entry[1] !== null);
  return h("dl", {}, ...known.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}

export const status = (text: string): HTMLElement => h("span", { className: "status" }, words(text));

/** `over_approval_limit` as people read it. */
export const words = (code: string): string => code.replaceAll("_", " ");

export const when = (time: string): string => new Date(time).toLocaleString();

/** An address of what was downloaded, until another view is shown. */
export function addressOf(content: Blob): string {
  const address = URL.createObjectURL(content);
  addEventListener("hashchange", () => URL.revokeObjectURL(address), { once: true });
  return address;
}

/** What the form's control of that name says. */
export function value(form: HTMLFormElement, name: string): string {
  const control = form.elements.namedItem(name);
  return control instanceof HTMLInputElement || control instanceof HTMLSelectElement ? control.value : "";
}

/** Whether the form has a checked box of that name. */
export function checked(form: HTMLFormElement, name: string): boolean {
  const control = form.elements.namedItem(name);
  return control instanceof HTMLInputElement && control.checked;
}
