"""The texts of an organisation's mails: subject and body per language, with placeholders from a closed set.

There is no template language: a placeholder is a name in braces, and everything else is text.
"""

import re
from collections.abc import Mapping
from enum import StrEnum

from po_api.core.errors import FieldError
from po_api.organisations.errors import UnknownPlaceholder


class Placeholder(StrEnum):
    """What a text may name: facts of the order, and the address at which the supplier reads it."""

    NUMBER = "number"
    REVISION = "revision"
    SUPPLIER = "supplier"
    TOTAL = "total"
    NEEDED_BY = "needed_by"
    LINK = "link"


_PLACEHOLDER = re.compile(r"\{([^{}\s]*)\}")
# The subject is shown before anybody has read the mail, on locked screens and in logs of servers.
_IN_SUBJECTS = frozenset(Placeholder) - {Placeholder.LINK}
_ALLOWED = {"subject": _IN_SUBJECTS, "body": frozenset(Placeholder)}


def require_known_placeholders(templates: Mapping[str, Mapping[str, str]]) -> None:
    """Raise UnknownPlaceholder with each that its text may not have. `templates` are subject and body by language."""
    problems = [
        FieldError(f"/mail_templates/{language}/{part}", UnknownPlaceholder.code, f"unknown: {{{name}}}")
        for language, texts in templates.items()
        for part, allowed in _ALLOWED.items()
        for name in _PLACEHOLDER.findall(texts[part])
        if name not in allowed
    ]
    if problems:
        raise UnknownPlaceholder(errors=tuple(problems))


def filled(text: str, values: Mapping[Placeholder, str | None]) -> str:
    """`text` with the values of placeholders.

    A line is left out if one of its placeholders has no value, such as that of a date of an order without one.
    Placeholders that are not in `values` stay.
    """
    return "\n".join(_fill(line, values) for line in text.split("\n") if not _misses(line, values))


def _misses(line: str, values: Mapping[Placeholder, str | None]) -> bool:
    return any(name in values and values[Placeholder(name)] is None for name in _PLACEHOLDER.findall(line))


def _fill(line: str, values: Mapping[Placeholder, str | None]) -> str:
    def value(found: re.Match[str]) -> str:
        return str(values[Placeholder(found[1])]) if found[1] in values else found[0]

    return _PLACEHOLDER.sub(value, line)
