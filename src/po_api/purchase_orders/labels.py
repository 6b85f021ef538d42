"""The words that the document of an order prints, in each language."""

from collections.abc import Mapping
from dataclasses import dataclass

from po_api.core.parties import Language
from po_api.purchase_orders.domain import TaxCategory

# Names of units that CLDR does not have: singular and plural. Pieces are codes of UN/ECE Recommendation 20, packages
# (with an X) of Recommendation 21.
Names = tuple[str, str]


@dataclass(frozen=True)
class Labels:
    """The words of one language; those with braces take values."""

    title: str
    draft: str
    revision: str
    page: str
    footer: str
    supplier: str
    buyer: str
    deliver_to: str
    invoice_to: str
    date: str
    currency: str
    delivery_date: str
    payment: str
    day_net: str
    days_net: str
    immediately: str
    incoterms: str
    buyer_reference: str
    request: Names
    cost_centre: Names
    prepared_by: str
    approved_by: str
    tax_id: str
    vat_id: str
    company_id: str
    phone: str
    position: str
    description: str
    quantity: str
    unit_price: str
    discount: str
    tax: str
    tax_on: str
    net: str
    net_total: str
    total: str
    sku: str
    needed_by: str
    terms: str
    authorised_for: str
    accepted_for: str
    signature: str
    cancelled: str
    cancelled_on: str
    draft_mark: str
    no_order: str
    reason: str
    categories: Mapping[str, str]
    units: Mapping[str, Names]


def _units(
    piece: Names, pair: Names, set_: Names, dozen: Names, pack: Names, box: Names, carton: Names, bag: Names,
    pallet: Names, lump_sum: Names, service: Names, working_day: Names,
) -> Mapping[str, Names]:  # fmt: skip
    return {
        **dict.fromkeys(("C62", "H87", "EA"), piece),
        **dict.fromkeys(("PR", "NPR"), pair),
        "SET": set_,
        "DZN": dozen,
        **dict.fromkeys(("NMP", "XPK"), pack),
        "XBX": box,
        "XCT": carton,
        "XBG": bag,
        "XPX": pallet,
        "LS": lump_sum,
        "E48": service,
        "E49": working_day,
    }


def _categories(zero_rated: str, exempt: str, reverse: str, outside: str, union: str, export: str) -> Mapping[str, str]:
    names = (zero_rated, exempt, reverse, outside, union, export)
    return dict(zip([category for category in TaxCategory if category != TaxCategory.STANDARD], names, strict=True))


_ENGLISH = Labels(
    title="Purchase order",
    draft="Draft",
    revision="Revision",
    page="Page {page} of {pages}",
    footer="{number}, revision {revision}",
    supplier="Supplier",
    buyer="Buyer",
    deliver_to="Deliver to",
    invoice_to="Invoice to",
    date="Date",
    currency="Currency",
    delivery_date="Delivery date",
    payment="Payment",
    day_net="1 day net",
    days_net="{days} days net",
    immediately="Immediately",
    incoterms="Incoterms",
    buyer_reference="Buyer reference",
    request=("Request", "Requests"),
    cost_centre=("Cost centre", "Cost centres"),
    prepared_by="Prepared by",
    approved_by="Approved by",
    tax_id="Tax ID",
    vat_id="VAT ID",
    company_id="Company no.",
    phone="Tel.",
    position="No.",
    description="Description",
    quantity="Quantity",
    unit_price="Unit price",
    discount="Discount",
    tax="Tax",
    tax_on="on",
    net="Net",
    net_total="Net",
    total="Total",
    sku="SKU",
    needed_by="Needed by",
    terms="Terms",
    authorised_for="Authorised for",
    accepted_for="Accepted for",
    signature="Name, date, signature",
    cancelled="CANCELLED",
    cancelled_on="Cancelled on {date}. This order is not valid.",
    draft_mark="DRAFT",
    no_order="Draft. This is not an order.",
    reason="{category}: {reason}",
    categories=_categories(
        "Zero rated", "Exempt", "Reverse charge", "Not subject to tax", "Intra-Community supply", "Export"
    ),
    units=_units(
        ("pc", "pcs"), ("pair", "pairs"), ("set", "sets"), ("dozen", "dozen"), ("pack", "packs"), ("box", "boxes"),
        ("carton", "cartons"), ("bag", "bags"), ("pallet", "pallets"), ("lump sum", "lump sum"),
        ("service", "services"), ("working day", "working days"),
    ),
)  # fmt: skip

_GERMAN = Labels(
    title="Bestellung",
    draft="Entwurf",
    revision="Revision",
    page="Seite {page} von {pages}",
    footer="{number}, Revision {revision}",
    supplier="Lieferant",
    buyer="Besteller",
    deliver_to="Lieferanschrift",
    invoice_to="Rechnungsanschrift",
    date="Datum",
    currency="Währung",
    delivery_date="Liefertermin",
    payment="Zahlung",
    day_net="1 Tag netto",
    days_net="{days} Tage netto",
    immediately="Sofort",
    incoterms="Incoterms",
    buyer_reference="Käuferreferenz",
    request=("Anforderung", "Anforderungen"),
    cost_centre=("Kostenstelle", "Kostenstellen"),
    prepared_by="Erstellt von",
    approved_by="Genehmigt von",
    tax_id="Steuernr.",
    vat_id="USt-IdNr.",
    company_id="Registernr.",
    phone="Tel.",
    position="Pos.",
    description="Bezeichnung",
    quantity="Menge",
    unit_price="Einzelpreis",
    discount="Rabatt",
    tax="USt.",
    tax_on="auf",
    net="Netto",
    net_total="Netto",
    total="Gesamt",
    sku="Art.-Nr.",
    needed_by="Benötigt bis",
    terms="Bedingungen",
    authorised_for="Für",
    accepted_for="Angenommen für",
    signature="Name, Datum, Unterschrift",
    cancelled="STORNIERT",
    cancelled_on="Storniert am {date}. Diese Bestellung ist ungültig.",
    draft_mark="ENTWURF",
    no_order="Entwurf. Dies ist keine Bestellung.",
    reason="{category}: {reason}",
    categories=_categories(
        "Nullsatz",
        "Steuerbefreit",
        "Steuerschuldnerschaft des Leistungsempfängers",
        "Nicht steuerbar",
        "Innergemeinschaftliche Lieferung",
        "Ausfuhrlieferung",
    ),
    units=_units(
        ("Stk.", "Stk."), ("Paar", "Paar"), ("Satz", "Sätze"), ("Dutzend", "Dutzend"), ("Packung", "Packungen"),
        ("Kiste", "Kisten"), ("Karton", "Kartons"), ("Sack", "Säcke"), ("Palette", "Paletten"),
        ("pauschal", "pauschal"), ("Leistung", "Leistungen"), ("Arbeitstag", "Arbeitstage"),
    ),
)  # fmt: skip

_FRENCH = Labels(
    title="Bon de commande",
    draft="Brouillon",
    revision="Révision",
    page="Page {page} sur {pages}",
    footer="{number}, révision {revision}",
    supplier="Fournisseur",
    buyer="Acheteur",
    deliver_to="Adresse de livraison",
    invoice_to="Adresse de facturation",
    date="Date",
    currency="Devise",
    delivery_date="Date de livraison",
    payment="Paiement",
    day_net="1 jour net",
    days_net="{days} jours nets",
    immediately="Immédiat",
    incoterms="Incoterms",
    buyer_reference="Référence acheteur",
    request=("Demande", "Demandes"),
    cost_centre=("Centre de coûts", "Centres de coûts"),
    prepared_by="Établi par",
    approved_by="Approuvé par",
    tax_id="N° fiscal",
    vat_id="N° TVA",
    company_id="N° d’entreprise",
    phone="Tél.",
    position="N°",
    description="Désignation",
    quantity="Quantité",
    unit_price="Prix unitaire",
    discount="Remise",
    tax="TVA",
    tax_on="sur",
    net="HT",
    net_total="Total HT",
    total="Total TTC",
    sku="Réf.",
    needed_by="Requis le",
    terms="Conditions",
    authorised_for="Pour",
    accepted_for="Accepté pour",
    signature="Nom, date, signature",
    cancelled="ANNULÉ",
    cancelled_on="Annulé le {date}. Cette commande n’est pas valable.",
    draft_mark="BROUILLON",
    no_order="Brouillon. Ceci n’est pas une commande.",
    reason="{category}\xa0: {reason}",
    categories=_categories(
        "Taux zéro", "Exonération", "Autoliquidation", "Hors champ", "Livraison intracommunautaire", "Exportation"
    ),
    units=_units(
        ("pce", "pces"), ("paire", "paires"), ("jeu", "jeux"), ("douzaine", "douzaines"), ("paquet", "paquets"),
        ("boîte", "boîtes"), ("carton", "cartons"), ("sac", "sacs"), ("palette", "palettes"),
        ("forfait", "forfait"), ("prestation", "prestations"), ("jour ouvré", "jours ouvrés"),
    ),
)  # fmt: skip

_SPANISH = Labels(
    title="Orden de compra",
    draft="Borrador",
    revision="Revisión",
    page="Página {page} de {pages}",
    footer="{number}, revisión {revision}",
    supplier="Proveedor",
    buyer="Comprador",
    deliver_to="Dirección de entrega",
    invoice_to="Dirección de facturación",
    date="Fecha",
    currency="Moneda",
    delivery_date="Fecha de entrega",
    payment="Pago",
    day_net="1 día neto",
    days_net="{days} días netos",
    immediately="Inmediato",
    incoterms="Incoterms",
    buyer_reference="Ref. del comprador",
    request=("Solicitud", "Solicitudes"),
    cost_centre=("Centro de coste", "Centros de coste"),
    prepared_by="Preparado por",
    approved_by="Aprobado por",
    tax_id="N.º fiscal",
    vat_id="NIF-IVA",
    company_id="N.º de registro",
    phone="Tel.",
    position="N.º",
    description="Descripción",
    quantity="Cantidad",
    unit_price="Precio unitario",
    discount="Descuento",
    tax="IVA",
    tax_on="sobre",
    net="Neto",
    net_total="Neto",
    total="Total",
    sku="Ref.",
    needed_by="Para el",
    terms="Condiciones",
    authorised_for="Por",
    accepted_for="Aceptado por",
    signature="Nombre, fecha, firma",
    cancelled="ANULADA",
    cancelled_on="Anulada el {date}. Esta orden no es válida.",
    draft_mark="BORRADOR",
    no_order="Borrador. Esto no es una orden de compra.",
    reason="{category}: {reason}",
    categories=_categories(
        "Tipo cero", "Exento", "Inversión del sujeto pasivo", "No sujeto", "Entrega intracomunitaria", "Exportación"
    ),
    units=_units(
        ("ud.", "uds."), ("par", "pares"), ("juego", "juegos"), ("docena", "docenas"), ("paquete", "paquetes"),
        ("caja", "cajas"), ("cartón", "cartones"), ("saco", "sacos"), ("palé", "palés"),
        ("tanto alzado", "tanto alzado"), ("servicio", "servicios"), ("día laborable", "días laborables"),
    ),
)  # fmt: skip

LABELS: Mapping[Language, Labels] = {
    Language.ENGLISH: _ENGLISH,
    Language.GERMAN: _GERMAN,
    Language.FRENCH: _FRENCH,
    Language.SPANISH: _SPANISH,
}
