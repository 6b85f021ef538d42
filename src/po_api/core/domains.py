"""Domain names: one form for all spellings of a name (IDNA 2008, UTS 46 without transitional processing)."""


def a_label(domain: str) -> str:
    """The ASCII form of a domain name, in lower case, in which names are compared. Raises ValueError for another text.

    `straße.example` is `xn--strae-oqa.example` and another name than `strasse.example`.
    """
    # Imported here: commands that compare no names need not load its tables.
    import idna  # noqa: PLC0415

    try:
        return idna.encode(domain, uts46=True, std3_rules=True).decode("ascii")
    except UnicodeError:  # its message quotes the text
        raise ValueError("not a domain name") from None


def u_label(domain: str) -> str:
    """The form of a domain name in which it is shown; the only one for each A-label. Raises ValueError as `a_label`."""
    import idna  # noqa: PLC0415

    return idna.decode(a_label(domain))
