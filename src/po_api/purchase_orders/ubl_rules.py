"""What an order lacks as an electronic order of Peppol BIS Order 3 (transaction T01).

The rules are those that an order of ours can break; each finding names the field of the order. Code lists are those of
Peppol's release of May 2025.
"""

from collections.abc import Iterator
from decimal import Decimal

from po_api.core.errors import FieldError
from po_api.core.parties import ADDRESS_FIELDS, PartySnapshot
from po_api.purchase_orders.documents import DocumentLine
from po_api.purchase_orders.electronic_order import ElectronicOrder
from po_api.purchase_orders.errors import ElectronicOrderIncomplete

_CODE = ElectronicOrderIncomplete.code

# Of Recommendation 20, deprecated codes that Peppol's list does not have.
_UNLISTED_UNITS = frozenset(
    """
    64 66 76 78 84 A1 A25 A50 A51 A52 A57 A58 A60 A61 A62 A63 A64 A65 A66 A67 A77 A78 A79 A80 A81 A82 A83 ARE ATT B36
    B37 B38 B39 B40 B51 B65 D35 D37 D38 D39 D70 D71 D72 D75 D76 D9 E11 GRT GT H78 HAR HJ HP J89 J94 K24 K25 K5 NPR
    NQ NR NTT QT SHT UA
    """.split()
)
# Codes of registers (ISO 6523) go from 0002 to this one, without a few.
_LAST_REGISTER = 240
_UNLISTED_REGISTERS = frozenset({92, 103, 181, 182})
# Prefixes of VAT ids that rule R026 does not know.
_UNLISTED_VAT_PREFIXES = frozenset({"BQ", "CW", "RE", "SS", "SX", "XI"})
_DECIMALS = 2


def findings(order: ElectronicOrder) -> list[FieldError]:
    """What is missing or not allowed, with pointers into the order; empty if the order can be written."""
    parties = order.parties
    found = [*_party(parties.get("buyer") or {}, "/parties/buyer", is_seller=False)]
    found += _party(parties.get("supplier") or {}, "/parties/supplier", is_seller=True)
    for name in ("delivery", "billing"):
        if parties.get(name) is not None and not parties[name].get("country"):
            found.append(_missing(f"/parties/{name}/country"))
    if order.delivery_text is not None:
        detail = "must be an address of the organisation (delivery_address_id)"
        found.append(FieldError("/delivery_address", _CODE, detail, "order"))
    totals = order.totals
    for name, amount in (("net", totals.net), ("tax", totals.tax), ("total", totals.total)):
        found += _amount(amount, f"/{name}")
    if not order.lines:
        found.append(FieldError("/lines", _CODE, "must have a line", "order"))
    for index, line in enumerate(order.lines):
        found += _line(line, f"/lines/{index}")
    return found


def _party(party: PartySnapshot, pointer: str, *, is_seller: bool) -> Iterator[FieldError]:
    required = ("legal_name", "endpoint_scheme", "endpoint_id")
    yield from (_missing(f"{pointer}/{name}") for name in required if not party.get(name))
    has_address = any(party.get(name) for name in (*ADDRESS_FIELDS, "address"))
    if not party.get("country") and (is_seller or has_address):
        yield _missing(f"{pointer}/country")
    scheme = party.get("company_scheme")
    if scheme and not _is_register(scheme):
        yield FieldError(f"{pointer}/company_scheme", _CODE, "must be a code of Peppol's list of ISO 6523", "order")
    # Sellers have no VAT id in this transaction.
    if not is_seller and (party.get("vat_id") or "")[:2] in _UNLISTED_VAT_PREFIXES:
        yield FieldError(f"{pointer}/vat_id", _CODE, "must have a prefix of rule PEPPOL-T01-R026", "order")
    for kind in ("endpoint", "company"):
        if not _has_valid_digits(party.get(f"{kind}_scheme"), party.get(f"{kind}_id")):
            yield FieldError(f"{pointer}/{kind}_id", _CODE, "must have the check digits of its scheme", "order")


def _is_register(scheme: str) -> bool:
    return 2 <= int(scheme) <= _LAST_REGISTER and int(scheme) not in _UNLISTED_REGISTERS


def _has_valid_digits(scheme: str | None, value: str | None) -> bool:
    """Whether an identifier has the format of its scheme, for those that Peppol checks; true without one."""
    # Imported here, as in `core.parties`.
    from stdnum import ean  # noqa: PLC0415
    from stdnum.au import abn  # noqa: PLC0415
    from stdnum.be import vat as be_vat  # noqa: PLC0415
    from stdnum.no import orgnr as no_orgnr  # noqa: PLC0415
    from stdnum.se import orgnr as se_orgnr  # noqa: PLC0415

    checks = {
        "0007": (se_orgnr, 10),
        "0088": (ean, 13),
        "0151": (abn, 11),
        "0192": (no_orgnr, 9),
        "0208": (be_vat, 10),
    }
    if scheme not in checks or value is None:
        return True
    module, length = checks[scheme]
    return len(value) == length and value.isascii() and value.isdigit() and bool(module.is_valid(value))


def _line(line: DocumentLine, pointer: str) -> Iterator[FieldError]:
    if not line.description.strip():
        yield _missing(f"{pointer}/description")
    if line.unit in _UNLISTED_UNITS:
        yield FieldError(
            f"{pointer}/unit", _CODE, f"line {line.position}: Peppol's list has no unit {line.unit}", "order"
        )
    if not line.tax_rate and line.tax_category is None:
        detail = f"line {line.position}: a tax rate of 0 needs a category"
        yield FieldError(f"{pointer}/tax_category", _CODE, detail, "order")
    yield from _amount(line.net, f"{pointer}/net")


def _amount(amount: Decimal, pointer: str) -> Iterator[FieldError]:
    exponent = amount.normalize().as_tuple().exponent
    if isinstance(exponent, int) and -exponent > _DECIMALS:
        yield FieldError(pointer, _CODE, "must have at most two decimals: nothing is rounded", "order")


def _missing(pointer: str) -> FieldError:
    return FieldError(pointer, _CODE, "must be set", "order")
