"""The texts of mails about notifications, in the languages of organisations."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from po_api.core.parties import Language
from po_api.notifications.domain import MAX_LISTED, NotificationKind


class Item(NamedTuple):
    """What a mail says about a notification. `number` is empty for draft orders and delegations, `link` None if there
    is none."""

    kind: str
    number: str
    title: str
    actor_name: str | None
    decision: str | None
    link: str | None


class Letter(NamedTuple):
    """The subject and the text of a mail."""

    subject: str
    body: str


class _Texts(NamedTuple):
    """What is said in one language. `lines` are by the kind, those of decisions by `decided.` and the decision; `draft`
    stands where the number of an order would."""

    lines: Mapping[str, str]
    draft: str
    one: str
    several: str
    more: str
    settings: str


_K = NotificationKind
_ENGLISH = _Texts(
    {
        _K.APPROVAL_NEEDED: "{number} ({title}) is waiting for your approval",
        _K.APPROVAL_REMINDER: "{number} ({title}) is still waiting for your approval",
        _K.APPROVAL_ESCALATED: "{number} ({title}) was not decided in time and is waiting for your approval",
        "decided.approved": "{number} ({title}) was approved",
        "decided.rejected": "{number} ({title}) was rejected",
        "decided.returned": "{number} ({title}) was returned to you",
        _K.MENTIONED: "{actor} mentioned you in a comment on {number} ({title})",
        _K.COMMENTED: "{actor} commented on {number} ({title})",
        _K.ORDER_ISSUED: "Order {number} to {title} was issued",
        _K.DELIVERY_FAILED: "Order {number} could not be sent to {title}",
        _K.NO_APPROVER_LEFT: "No active member may approve {number} ({title})",
        _K.DELEGATED_TO_YOU: "{title} has delegated approvals to you",
    },
    "the draft order",
    "{organisation}: one notification",
    "{organisation}: {count} notifications",
    "There are more notifications in the application.",
    "You can choose in the application which emails you receive.",
)
_GERMAN = _Texts(
    {
        _K.APPROVAL_NEEDED: "{number} ({title}) wartet auf Ihre Genehmigung",
        _K.APPROVAL_REMINDER: "{number} ({title}) wartet weiterhin auf Ihre Genehmigung",
        _K.APPROVAL_ESCALATED: "Die Frist für {number} ({title}) ist abgelaufen; Ihre Genehmigung steht aus",
        "decided.approved": "{number} ({title}) wurde genehmigt",
        "decided.rejected": "{number} ({title}) wurde abgelehnt",
        "decided.returned": "{number} ({title}) wurde an Sie zurückgegeben",
        _K.MENTIONED: "{actor} hat Sie in einem Kommentar zu {number} ({title}) erwähnt",
        _K.COMMENTED: "{actor} hat einen Kommentar zu {number} ({title}) geschrieben",
        _K.ORDER_ISSUED: "Bestellung {number} bei {title} wurde erteilt",
        _K.DELIVERY_FAILED: "Bestellung {number} konnte nicht an {title} gesendet werden",
        _K.NO_APPROVER_LEFT: "Kein aktives Mitglied darf {number} ({title}) genehmigen",
        _K.DELEGATED_TO_YOU: "{title} hat Ihnen Genehmigungen übertragen",
    },
    "dem Bestellentwurf",
    "{organisation}: eine Benachrichtigung",
    "{organisation}: {count} Benachrichtigungen",
    "Weitere Benachrichtigungen finden Sie in der Anwendung.",
    "Welche E-Mails Sie erhalten, legen Sie in der Anwendung fest.",
)
_FRENCH = _Texts(
    {
        _K.APPROVAL_NEEDED: "{number} ({title}) attend votre approbation",
        _K.APPROVAL_REMINDER: "{number} ({title}) attend toujours votre approbation",
        _K.APPROVAL_ESCALATED: "{number} ({title}) n’a pas été traitée à temps et attend votre approbation",
        "decided.approved": "{number} ({title}) a été approuvée",
        "decided.rejected": "{number} ({title}) a été refusée",
        "decided.returned": "{number} ({title}) vous a été renvoyée",
        _K.MENTIONED: "{actor} vous a mentionné dans un commentaire sur {number} ({title})",
        _K.COMMENTED: "{actor} a commenté {number} ({title})",
        _K.ORDER_ISSUED: "La commande {number} adressée à {title} a été émise",
        _K.DELIVERY_FAILED: "La commande {number} n’a pas pu être envoyée à {title}",
        _K.NO_APPROVER_LEFT: "Aucun membre actif ne peut approuver {number} ({title})",
        _K.DELEGATED_TO_YOU: "{title} vous a délégué des approbations",
    },
    "le brouillon de commande",
    "{organisation}\xa0: une notification",
    "{organisation}\xa0: {count} notifications",
    "D’autres notifications se trouvent dans l’application.",
    "Vous pouvez choisir dans l’application les e-mails que vous recevez.",
)
_SPANISH = _Texts(
    {
        _K.APPROVAL_NEEDED: "{number} ({title}) espera su aprobación",
        _K.APPROVAL_REMINDER: "{number} ({title}) sigue esperando su aprobación",
        _K.APPROVAL_ESCALATED: "{number} ({title}) no se resolvió a tiempo y espera su aprobación",
        "decided.approved": "{number} ({title}) ha sido aprobada",
        "decided.rejected": "{number} ({title}) ha sido rechazada",
        "decided.returned": "{number} ({title}) le ha sido devuelta",
        _K.MENTIONED: "{actor} le ha mencionado en un comentario sobre {number} ({title})",
        _K.COMMENTED: "{actor} ha comentado {number} ({title})",
        _K.ORDER_ISSUED: "La orden de compra {number} para {title} ha sido emitida",
        _K.DELIVERY_FAILED: "La orden de compra {number} no se ha podido enviar a {title}",
        _K.NO_APPROVER_LEFT: "Ningún miembro activo puede aprobar {number} ({title})",
        _K.DELEGATED_TO_YOU: "{title} le ha delegado aprobaciones",
    },
    "el borrador de orden de compra",
    "{organisation}: una notificación",
    "{organisation}: {count} notificaciones",
    "Hay más notificaciones en la aplicación.",
    "Puede elegir en la aplicación qué correos recibe.",
)
TEXTS: Mapping[Language, _Texts] = {
    Language.ENGLISH: _ENGLISH,
    Language.GERMAN: _GERMAN,
    Language.FRENCH: _FRENCH,
    Language.SPANISH: _SPANISH,
}


def letter_about(item: Item, language: Language) -> Letter:
    """The mail about one notification."""
    texts = TEXTS[language]
    line = _line(item, texts)
    return Letter(line, _paragraphs([f"{line}.", *([item.link] if item.link else []), texts.settings]))


def digest_of(items: Sequence[Item], organisation: str, language: Language) -> Letter:
    """The mail with several notifications, of which MAX_LISTED are listed."""
    texts, listed = TEXTS[language], items[:MAX_LISTED]
    subject = (texts.one if len(items) == 1 else texts.several).format(
        organisation=organisation, count=f"{MAX_LISTED}+" if len(items) > MAX_LISTED else len(items)
    )
    entries = ("\n  ".join([f"- {_line(item, texts)}", *([item.link] if item.link else [])]) for item in listed)
    more = [texts.more] if len(items) > MAX_LISTED else []
    return Letter(subject, _paragraphs(["\n".join(entries), *more, texts.settings]))


def _line(item: Item, texts: _Texts) -> str:
    key = item.kind if item.decision is None else f"{item.kind}.{item.decision}"
    return texts.lines[key].format(number=item.number or texts.draft, title=item.title, actor=item.actor_name)


def _paragraphs(parts: Sequence[str]) -> str:
    return "\n\n".join(parts)
