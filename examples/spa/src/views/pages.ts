import { attempt } from "../attempt";
import { h, table } from "../dom";

interface Page<T> {
  items: T[];
  next_cursor: string | null;
}

/** A table of what `fetched` gives, a page at a time, and a button for the next one. */
export async function pages<T>(
  caption: string,
  head: string[],
  fetched: (cursor: string | null) => Promise<Page<T>>,
  row: (item: T) => (Node | string)[],
): Promise<Node[]> {
  const first = await fetched(null);
  if (first.items.length === 0) return [h("p", {}, `${caption}: none.`)];
  const list = table(caption, head, first.items.map(row));
  const more = h("button", { hidden: first.next_cursor === null }, "Show more");
  let cursor = first.next_cursor;
  more.onclick = () =>
    attempt(async () => {
      const next = await fetched(cursor);
      list.append(...table("", head, next.items.map(row)).querySelectorAll("tbody"));
      cursor = next.next_cursor;
      more.hidden = cursor === null;
    });
  return [list, more];
}
