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

Please find our purchase order {number} attached.

Total: {total}
Delivery date: {needed_by}
View the order online: {link}

Please confirm that you have received it by replying to this email.""",
)
_GERMAN = Texts(
    "Bestellung {number}",
    """Sehr geehrte Damen und Herren,

anbei erhalten Sie unsere Bestellung {number}.

Gesamtbetrag: {total}
Liefertermin: {needed_by}
Bestellung online ansehen: {link}

Bitte bestätigen Sie den Eingang, indem Sie auf diese E-Mail antworten.""",
)
_FRENCH = Texts(
    "Bon de commande {number}",
    """Madame, Monsieur,

Veuillez trouver ci-joint notre bon de commande {number}.

Total TTC\xa0: {total}
Date de livraison\xa0: {needed_by}
Consulter la commande en ligne\xa0: {link}

Merci d’en confirmer la réception en répondant à ce message.""",
)
_SPANISH = Texts(
    "Orden de compra {number}",
    """Estimado equipo de {supplier}:

Adjuntamos nuestra orden de compra {number}.

Importe total: {total}
Fecha de entrega: {needed_by}
Consultar la orden en línea: {link}

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
