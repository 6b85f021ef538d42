// Shows the order of the link. What is behind the # of the address goes into a header: it is in no path and no log.
"use strict";

const TEXTS = {
  en: {
    title: "Purchase order", from: "From", to: "To", issued: "Issued", delivery: "Delivery date", needed: "Needed by", terms: "Terms", lines: "Lines",
    description: "Description", quantity: "Quantity", price: "Unit price", discount: "Discount", tax: "Tax", net: "Net",
    total: "Total", pdf: "Download the PDF", name: "Your name", confirm: "Confirm that you have read this order",
    read: "Read by", cancelled: "This order was cancelled. It is not valid.", closed: "This order is closed.",
    gone: "This link is not valid, or no longer valid. Please ask the buyer.", busy: "Too many requests. Please try again in a minute.",
    failed: "The order cannot be shown at the moment. Please try again later.", loading: "The order is being loaded…",
  },
  de: {
    title: "Bestellung", from: "Von", to: "An", issued: "Ausgestellt", delivery: "Liefertermin", needed: "Benötigt bis", terms: "Bedingungen", lines: "Positionen",
    description: "Bezeichnung", quantity: "Menge", price: "Einzelpreis", discount: "Rabatt", tax: "USt.", net: "Netto",
    total: "Gesamt", pdf: "PDF herunterladen", name: "Ihr Name", confirm: "Bestätigen, dass Sie die Bestellung gelesen haben",
    read: "Gelesen von", cancelled: "Diese Bestellung wurde storniert. Sie ist nicht gültig.", closed: "Diese Bestellung ist abgeschlossen.",
    gone: "Dieser Link ist nicht oder nicht mehr gültig. Bitte wenden Sie sich an den Besteller.", busy: "Zu viele Anfragen. Bitte versuchen Sie es in einer Minute erneut.",
    failed: "Die Bestellung kann zurzeit nicht angezeigt werden. Bitte versuchen Sie es später erneut.", loading: "Die Bestellung wird geladen …",
  },
  fr: {
    title: "Bon de commande", from: "De", to: "À", issued: "Émis le", delivery: "Date de livraison", needed: "Requis le", terms: "Conditions", lines: "Lignes",
    description: "Désignation", quantity: "Quantité", price: "Prix unitaire", discount: "Remise", tax: "TVA", net: "HT",
    total: "Total TTC", pdf: "Télécharger le PDF", name: "Votre nom", confirm: "Confirmer que vous avez lu cette commande",
    read: "Lu par", cancelled: "Cette commande a été annulée. Elle n’est pas valable.", closed: "Cette commande est clôturée.",
    gone: "Ce lien n’est pas valable, ou ne l’est plus. Veuillez contacter l’acheteur.", busy: "Trop de requêtes. Veuillez réessayer dans une minute.",
    failed: "La commande ne peut pas être affichée pour le moment. Veuillez réessayer plus tard.", loading: "Chargement de la commande…",
  },
  es: {
    title: "Orden de compra", from: "De", to: "Para", issued: "Emitida", delivery: "Fecha de entrega", needed: "Para el", terms: "Condiciones", lines: "Líneas",
    description: "Descripción", quantity: "Cantidad", price: "Precio unitario", discount: "Descuento", tax: "IVA", net: "Neto",
    total: "Total", pdf: "Descargar el PDF", name: "Su nombre", confirm: "Confirmar que ha leído esta orden",
    read: "Leída por", cancelled: "Esta orden ha sido anulada. No es válida.", closed: "Esta orden está cerrada.",
    gone: "Este enlace no es válido, o ya no lo es. Póngase en contacto con el comprador.", busy: "Demasiadas solicitudes. Inténtelo de nuevo en un minuto.",
    failed: "La orden no se puede mostrar en este momento. Inténtelo más tarde.", loading: "Cargando la orden…",
  },
};
// Units that need no name: one, piece, each.
const PIECES = ["C62", "H87", "EA"];
const API = "api/v1/supplier-links/current";
const main = document.getElementById("order");
let locale = TEXTS[navigator.language.slice(0, 2)] ? navigator.language.slice(0, 2) : "en";

/** An element with children; texts stay texts, whatever the order says. */
function h(tag, properties, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children.filter((child) => child !== null));
  return element;
}

// As the document writes: 6 May 2031.
const tag = () => (locale === "en" ? "en-GB" : locale);
// A date alone is midnight in UTC, which is another day in America; a time is shown where the reader is.
const day = (text) =>
  new Date(text).toLocaleDateString(tag(), { dateStyle: "long", timeZone: text.includes("T") ? undefined : "UTC" });
// Without rounding: a decimal string is formatted as it is.
const digitsOf = (text) => (text.split(".")[1] ?? "").length;
const amount = (text, digits = 0, style = {}) =>
  new Intl.NumberFormat(tag(), {
    minimumFractionDigits: Math.max(digits, digitsOf(text)),
    maximumFractionDigits: 4,
    useGrouping: "always", // Spanish would write 1234,50
    ...style,
  }).format(text);
const percentage = (text) => amount(text, 0, { style: "unit", unit: "percent" });

function ask(path, options = {}) {
  const headers = { ...options.headers, "Supplier-Token": location.hash.slice(1) };
  return fetch(API + path, { ...options, headers, cache: "no-store", credentials: "omit" });
}

function say(text) {
  main.replaceChildren(h("p", { id: "state", className: "notice", role: "alert" }, text));
}

function refuse(status) {
  const texts = TEXTS[locale];
  say(status === 404 ? texts.gone : status === 429 ? texts.busy : texts.failed);
}

async function load(answer) {
  if (!answer.ok) return refuse(answer.status);
  show(await answer.json());
}

function show(order) {
  locale = TEXTS[order.locale] ? order.locale : "en";
  const texts = TEXTS[locale];
  document.documentElement.lang = locale;
  document.title = `${texts.title} ${order.number}`;
  const revision = order.revision > 1 ? ` (${order.revision})` : "";
  const notice = ["cancelled", "closed"].includes(order.status) ? texts[order.status] : null;
  main.replaceChildren(
    ...[
      h("h1", {}, `${texts.title} `, h("span", { className: "whole" }, `${order.number}${revision}`)),
      notice ? h("p", { className: "notice" }, notice) : null,
      facts(order, texts),
      h("p", {}, h("button", { type: "button", onclick: download }, texts.pdf)),
      h("h2", {}, texts.lines),
      h("div", { className: "lines", tabIndex: 0 }, lines(order, texts)),
      order.terms ? h("h2", {}, texts.terms) : null,
      order.terms ? h("p", { className: "terms" }, order.terms) : null,
      confirmation(order, texts),
    ].filter((part) => part !== null),
  );
}

function facts(order, texts) {
  const known = [
    [texts.from, order.buyer_name],
    [texts.to, order.supplier_name],
    [texts.issued, day(order.issued_at)],
    [texts.delivery, order.delivery_date && day(order.delivery_date)],
    [texts.total, `${amount(order.total)} ${order.currency}`],
  ].filter(([, value]) => value);
  return h("dl", {}, ...known.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
}

function lines(order, texts) {
  const number = (text) => h("td", { className: "number" }, text);
  const hasDiscount = order.lines.some((line) => Number(line.discount_percent));
  const discount = (line) => number(Number(line.discount_percent) ? percentage(line.discount_percent) : "");
  const discounted = hasDiscount ? [texts.discount] : [];
  const head = [texts.description, texts.quantity, texts.price, ...discounted, texts.tax, texts.net];
  const rows = order.lines.map((line) =>
    h(
      "tr",
      {},
      h(
        "td",
        {},
        line.sku ? `${line.description} (${line.sku})` : line.description,
        line.needed_by && h("div", {}, `${texts.needed} ${day(line.needed_by)}`),
      ),
      number(`${amount(line.quantity)} ${PIECES.includes(line.unit) ? "" : line.unit}`),
      number(amount(line.unit_price, digitsOf(order.net))),
      hasDiscount ? discount(line) : null,
      number(percentage(line.tax_rate)),
      number(amount(line.net)),
    ),
  );
  const sums = [
    [texts.net, order.net],
    [texts.tax, order.tax],
    [texts.total, order.total],
  ].map(([name, sum]) => h("tr", {}, h("th", { scope: "row", colSpan: head.length - 1 }, name), number(`${amount(sum)} ${order.currency}`)));
  return h(
    "table",
    {},
    h("thead", {}, h("tr", {}, ...head.map((text, index) => h("th", { scope: "col", className: index ? "number" : "" }, text)))),
    h("tbody", {}, ...rows),
    h("tfoot", {}, ...sums),
  );
}

function confirmation(order, texts) {
  if (order.viewed_at) return h("p", { id: "viewed" }, `${texts.read} ${order.viewed_by_name}, ${day(order.viewed_at)}`);
  const name = h("input", { name: "name", required: true, maxLength: 255, autocomplete: "name" });
  return h(
    "form",
    {
      onsubmit: (event) => {
        event.preventDefault();
        const body = JSON.stringify({ name: name.value });
        ask("/view", { method: "POST", body, headers: { "Content-Type": "application/json" } }).then(load, () => refuse(0));
      },
    },
    h("label", {}, h("span", {}, texts.name), name),
    h("button", {}, texts.confirm),
  );
}

/** The document comes with the header, so it cannot be a plain link. */
async function download() {
  const answer = await ask("/document.pdf").catch(() => null);
  if (!answer || !answer.ok) return refuse(answer ? answer.status : 0);
  const named = /filename="([^"]+)"/.exec(answer.headers.get("Content-Disposition") ?? "");
  const link = h("a", { href: URL.createObjectURL(await answer.blob()), download: named ? named[1] : "order.pdf" });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

function begin() {
  document.documentElement.lang = locale;
  main.replaceChildren(h("p", { id: "state" }, TEXTS[locale].loading));
  ask("").then(load, () => refuse(0));
}

addEventListener("hashchange", begin);
begin();
