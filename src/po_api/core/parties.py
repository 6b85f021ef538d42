"""Identifiers of legal parties and code lists for them: VAT ids, electronic addresses, countries, languages, Incoterms.

A VAT id starts with the prefix of its country. Check digits are checked where python-stdnum does so for that country.
"""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from po_api.core.errors import FieldError, Unprocessable

# Parties and addresses as an order's snapshot has them: JSON objects, of one of these or of their fields.
PartySnapshot = Mapping[str, Any]

# ISO 3166-1 alpha-2.
COUNTRIES = frozenset(
    """
    AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY BZ CA CC
    CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK FM FO FR GA GB GD
    GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH
    KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW
    MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC
    SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY
    UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW
    """.split()
)

# The Electronic Address Scheme (EAS) codes of Peppol's code list, without the withdrawn ones.
ENDPOINT_SCHEMES = frozenset(
    """
    0002 0007 0009 0037 0060 0088 0096 0097 0106 0130 0135 0142 0147 0151 0154 0158 0170 0177 0183 0184 0188 0190 0191
    0192 0193 0194 0195 0196 0198 0199 0200 0201 0202 0203 0204 0205 0208 0209 0210 0211 0212 0213 0215 0216 0217 0218
    0221 0225 0230 0235 0240 0244 9910 9913 9914 9915 9918 9919 9920 9922 9923 9924 9925 9926 9927 9928 9929 9930 9931
    9932 9933 9934 9935 9936 9937 9938 9939 9940 9941 9942 9943 9944 9945 9946 9947 9948 9949 9950 9951 9952 9953 9957
    9959
    """.split()
)
GLN_SCHEME = "0088"

# Prefixes of VAT ids that are not the code of their country: Greece, Northern Ireland.
_OTHER_PREFIXES = frozenset({"EL", "XI"})
_SEPARATORS = re.compile(r"[\s./-]+")
_VAT_ID = re.compile(r"[A-Z]{2}[A-Z0-9]{2,20}", re.ASCII)

# Countries where the postal code stands behind city and region, or on a line of its own.
_CODE_AFTER_REGION = frozenset({"AU", "CA", "US"})
_CODE_BELOW = frozenset({"GB", "GG", "IE", "IM", "JE"})

ADDRESS_FIELDS = ("street", "street2", "city", "postal_code", "region", "country")
CONTACT_FIELDS = ("contact_name", "contact_email", "contact_phone")
PARTY_FIELDS = (
    *ADDRESS_FIELDS,
    *("legal_name", "vat_id", "company_scheme", "company_id"),
    *CONTACT_FIELDS,
    *("endpoint_scheme", "endpoint_id", "language"),
)


class Language(StrEnum):
    """The language of a party's documents, ISO 639-1."""

    ENGLISH = "en"
    GERMAN = "de"
    FRENCH = "fr"
    SPANISH = "es"


class Incoterm(StrEnum):
    """A rule of Incoterms 2020."""

    EXW = "EXW"
    FCA = "FCA"
    CPT = "CPT"
    CIP = "CIP"
    DAP = "DAP"
    DPU = "DPU"
    DDP = "DDP"
    FAS = "FAS"
    FOB = "FOB"
    CFR = "CFR"
    CIF = "CIF"


class IncompleteIdentifier(Unprocessable):
    """An identifier needs its scheme, and a scheme its identifier: `endpoint_scheme` with `endpoint_id`,
    `company_scheme` with `company_id`."""

    code = "incomplete_identifier"
    title = "Identifier without its scheme, or the reverse"


class InvalidGln(Unprocessable):
    """The id of an endpoint in the scheme 0088 has to be a GLN: 13 digits, of which the last one is the check digit."""

    code = "invalid_gln"
    title = "Invalid GLN"


def vat_id_of(text: str) -> str:
    """A VAT id without separators, in upper case. Raises ValueError if it is not one of its country."""
    vat_id = _SEPARATORS.sub("", text).upper()
    prefix = vat_id[:2]
    if not _VAT_ID.fullmatch(vat_id) or prefix not in COUNTRIES | _OTHER_PREFIXES:
        raise ValueError("not a VAT id")
    if not _has_valid_digits(prefix, vat_id):
        raise ValueError("not a VAT id of this country")
    return vat_id


def _has_valid_digits(prefix: str, vat_id: str) -> bool:
    # Imported here, since it looks for the modules of all countries.
    from stdnum.ch import uid, vat  # noqa: PLC0415
    from stdnum.eu import vat as eu_vat  # noqa: PLC0415
    from stdnum.gb import vat as gb_vat  # noqa: PLC0415
    from stdnum.no import mva, orgnr  # noqa: PLC0415

    match prefix:
        case "GR":
            return False  # its prefix is EL
        case "GB":
            return gb_vat.is_valid(vat_id)
        case "CH":
            return vat.is_valid(vat_id) or uid.is_valid(vat_id)
        case "NO":
            return mva.is_valid(vat_id) or orgnr.is_valid(vat_id[2:])
        case "EL":
            return eu_vat.is_valid(vat_id)
        case _ if prefix.lower() in eu_vat.MEMBER_STATES:
            return eu_vat.is_valid(vat_id)
        case _:
            return True


def is_gln(text: str) -> bool:
    """Whether the text is a Global Location Number with its check digit."""
    from stdnum import ean  # noqa: PLC0415

    return len(text) == 13 and text.isascii() and text.isdigit() and ean.is_valid(text)


def require_whole_identifiers(party: Mapping[str, object]) -> None:
    """Raise IncompleteIdentifier or InvalidGln unless the party's identifiers fit their schemes.

    `party` has the values after a change. A company id may do without a scheme.
    """
    missing = []
    if (party["endpoint_scheme"] is None) != (party["endpoint_id"] is None):
        missing.append("endpoint_scheme" if party["endpoint_scheme"] is None else "endpoint_id")
    if party["company_scheme"] is not None and party["company_id"] is None:
        missing.append("company_id")
    if missing:
        code, title = IncompleteIdentifier.code, IncompleteIdentifier.title
        raise IncompleteIdentifier(errors=tuple(FieldError(f"/{name}", code, title) for name in missing))
    if party["endpoint_scheme"] == GLN_SCHEME and not is_gln(str(party["endpoint_id"])):
        raise InvalidGln(errors=(FieldError("/endpoint_id", InvalidGln.code, "must be a GLN with its check digit"),))


def address_lines(address: Mapping[str, str | None]) -> list[str]:
    """A structured address as printed lines; empty if there is none.

    Where the postal code stands depends on the country (addressing guidelines of the Universal Postal Union). The
    country is its `country_name`, if there is one, or else its code.
    """
    city, code, region, country = (address[name] for name in ("city", "postal_code", "region", "country"))
    places: tuple[str | None, ...]
    if country in _CODE_AFTER_REGION:
        places = (", ".join(part for part in (city, " ".join(part for part in (region, code) if part)) if part),)
    elif country in _CODE_BELOW:
        places = (city, region, code)
    else:
        places = (" ".join(part for part in (code, city) if part), region)
    lines = (address["street"], address["street2"], *places, address.get("country_name") or country)
    return [line for line in lines if line]
