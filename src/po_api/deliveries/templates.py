"""The built-in texts of mails, for organisations without texts of their own."""

from collections.abc import Mapping
from typing import NamedTuple

from po_api.core.parties import Language


class Texts(NamedTuple):
    """Subject and body, with placeholders (`organisations.mail_templates`)."""

    subject: str
    body: str


_ENGLISH = Texts(
    "Purchase order {number}",
    """Dear {supplier} team,

please find our purchase order {number} attached.

Total: {total}
Needed by: {needed_by}
Read the order online: {link}

Please confirm that you have received it by replying to this mail.""",
)
_GERMAN = Texts(
    "Bestellung {number}",
    """Guten Tag {supplier},

anbei erhalten Sie unsere Bestellung {number}.

Gesamtbetrag: {total}
Liefertermin: {needed_by}
Bestellung online lesen: {link}

Bitte bestätigen Sie den Eingang, indem Sie auf diese E-Mail antworten.""",
)
_FRENCH = Texts(
    "Bon de commande {number}",
    """Bonjour {supplier},

veuillez trouver ci-joint notre bon de commande {number}.

Montant total : {total}
Livraison souhaitée : {needed_by}
Lire la commande en ligne : {link}

Merci d'en confirmer la réception en répondant à ce message.""",
)
_SPANISH = Texts(
    "Orden de compra {number}",
    """Estimado equipo de {supplier}:

adjuntamos nuestra orden de compra {number}.

Importe total: {total}
Fecha de entrega: {needed_by}
Leer la orden en línea: {link}

Les rogamos que confirmen la recepción respondiendo a este mensaje.""",
)
BUILT_IN: Mapping[Language, Texts] = {
    Language.ENGLISH: _ENGLISH,
    Language.GERMAN: _GERMAN,
    Language.FRENCH: _FRENCH,
    Language.SPANISH: _SPANISH,
}


def texts_in(locale: Language, own: Mapping[str, Mapping[str, str]]) -> Texts:
    """The texts in a language: the organisation's own, or the built-in ones."""
    return Texts(**own[locale]) if locale in own else BUILT_IN[locale]
