import { api, once } from "../api";
import { form } from "../attempt";
import { field, h, input, value } from "../dom";
import { go } from "../navigation";
import { unwrap } from "../problems";

/** A new request with its lines; fields have the API's pointers for names, so that its problems find them. */
export async function raiseView(): Promise<Node[]> {
  const header = once();
  const lines = h("div", {}, line(0));
  const add = h("button", { type: "button" }, "Add a line");
  add.onclick = () => lines.append(line(lines.childElementCount));
  return [
    h("h1", {}, "Raise a request"),
    form(
      async (form) => {
        const body = {
          title: value(form, "/title"),
          lines: [...lines.children].map((_, index) => lineOf(form, index)),
        };
        const porf = unwrap(await api.POST("/api/v1/porfs", { params: { header }, body }));
        go(`#/porf/${porf.id}`);
      },
      field("Title", input("/title")),
      lines,
      h("p", { className: "row" }, add, h("button", {}, "Save the draft")),
    ),
  ];
}

function line(index: number): Node {
  const name = (part: string): string => `/lines/${index}/${part}`;
  return h(
    "fieldset",
    { className: "row" },
    h("legend", {}, `Line ${index + 1}`),
    field("Description", input(name("description"))),
    field("Quantity", input(name("quantity"), { inputMode: "decimal", value: "1" })),
    field("Unit price", input(name("unit_price"), { inputMode: "decimal" })),
    field("Tax rate %", input(name("tax_rate"), { inputMode: "decimal", value: "20" })),
  );
}

function lineOf(form: HTMLFormElement, index: number) {
  const part = (name: string): string => value(form, `/lines/${index}/${name}`);
  return {
    description: part("description"),
    quantity: part("quantity"),
    unit_price: part("unit_price"),
    tax_rate: part("tax_rate"),
  };
}
