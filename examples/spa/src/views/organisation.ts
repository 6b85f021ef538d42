import { api, once } from "../api";
import { form } from "../attempt";
import { field, h, input, value } from "../dom";
import { go } from "../navigation";
import { ensure } from "../problems";

/** For a user who belongs to no organisation: who founds one is its admin. */
export async function foundOrganisationView(): Promise<Node[]> {
  const header = once();
  const timezone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  return [
    h("h1", {}, "Found an organisation"),
    h("p", {}, "You belong to none yet. Found one, or ask the admin of an existing one to invite you."),
    form(
      async (form) => {
        const body = {
          name: value(form, "/name"),
          currency: value(form, "/currency"),
          timezone: value(form, "/timezone"),
        };
        ensure(await api.POST("/api/v1/organisations", { params: { header }, body }));
        go("#/porfs");
      },
      field("Name", input("/name", { autocomplete: "organization" })),
      field(
        "Currency",
        input("/currency", { value: "EUR", pattern: "[A-Z]{3}", title: "An ISO 4217 code, such as EUR" }),
      ),
      field("Time zone", input("/timezone", { value: timezone })),
      h("button", {}, "Found it"),
    ),
  ];
}
