import type { Schemas } from "../api";
import { form } from "../attempt";
import { addressOf, field, h, input, select, value, when } from "../dom";
import type { Files } from "../files";
import { go } from "../navigation";
import { pages } from "./pages";

type File = Schemas["FileRead"];
// What the API accepts, whatever the name; here only to let the browser offer the right ones.
const ACCEPTED = ".pdf,.png,.jpg,.jpeg,.xlsx,.docx,.eml,.csv,.txt";
const MAX_MEBIBYTES = 20;
const KIBIBYTE = 1024;

/** The files of a request, or of an order: `forSupplier` says whether one may add some that its supplier gets, too. */
export async function filesView(user: Schemas["Me"], files: Files, forSupplier?: boolean): Promise<Node[]> {
  const whose = (text: string): string[] => (forSupplier === undefined ? [] : [text]);
  const head = ["Name", "Size", ...whose("Who gets it"), "Added by", "Added", ""];
  const row = (file: File): (Node | string)[] => [
    download(files, file),
    size(file.size),
    ...whose(file.visibility === "supplier" ? "the supplier, too" : "internal"),
    file.uploaded_by_name,
    when(file.created_at),
    mayDelete(user, file) ? remove(files, file) : "",
  ];
  // Auditors only read.
  const mayAdd = user.roles.some((role) => role !== "auditor");
  return [...(await pages("Files", head, files.page, row)), ...(mayAdd ? [add(files, forSupplier === true)] : [])];
}

function add(files: Files, forSupplier: boolean): Node {
  const chooser = input("/file", { type: "file", accept: ACCEPTED });
  chooser.onchange = () => chooser.setCustomValidity(isTooLarge(chooser) ? `At most ${MAX_MEBIBYTES} MiB.` : "");
  const whose = select("/visibility", [
    ["internal", "Internal"],
    ["supplier", "The supplier, too"],
  ]);
  return form(
    async (form) => {
      const data = new FormData();
      data.set("file", chooser.files![0]!);
      if (forSupplier) data.set("visibility", value(form, "/visibility"));
      await files.add(data);
      go(location.hash);
    },
    h(
      "p",
      { className: "row" },
      field("Add a file", chooser),
      ...(forSupplier ? [field("Who gets it", whose)] : []),
      h("button", {}, "Upload"),
    ),
  );
}

/** Asked before so much is sent in vain: a proxy on the way may refuse it, too, and in a way that no script can read. */
const isTooLarge = ({ files }: HTMLInputElement): boolean =>
  (files?.[0]?.size ?? 0) > MAX_MEBIBYTES * KIBIBYTE * KIBIBYTE;

/** A file comes with the session, so it cannot be a plain link. It is saved and not shown: somebody else's file has no
 * business at the address of this app. */
const download = (files: Files, { id, name }: File): Node =>
  form(async () => save(await files.content(id), name), h("button", { className: "link" }, name));

const save = (content: Blob, name: string): void => h("a", { href: addressOf(content), download: name }).click();

const mayDelete = (user: Schemas["Me"], file: File): boolean =>
  (file.uploaded_by_id === user.id || user.roles.includes("admin")) && file.frozen_revision === null;

const remove = (files: Files, { id, name }: File): Node =>
  form(
    async () => {
      if (!confirm(`Delete ${name}?`)) return;
      await files.remove(id);
      go(location.hash);
    },
    h("button", { ariaLabel: `Delete ${name}` }, "Delete"),
  );

const size = (bytes: number): string =>
  bytes < KIBIBYTE * KIBIBYTE
    ? `${Math.ceil(bytes / KIBIBYTE)} KiB`
    : `${(bytes / KIBIBYTE / KIBIBYTE).toFixed(1)} MiB`;
