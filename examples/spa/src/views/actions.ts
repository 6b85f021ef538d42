import type { Schemas } from "../api";
import { h, words } from "../dom";

/** A button for each action; the API said which may be used, and why the others may not. */
export function actionButtons(names: readonly string[], allowed: Record<string, Schemas["AllowedAction"]>): Node {
  const button = (name: string): Node => {
    const reason = allowed[name]?.reason;
    return h(
      "button",
      { value: name, disabled: !allowed[name]?.allowed, title: reason ? words(reason) : "" },
      words(name),
    );
  };
  return h("p", { className: "row" }, ...names.map(button));
}
