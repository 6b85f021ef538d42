"""Errors of exports."""

from po_api.core.errors import Unprocessable


class ExportTooLarge(Unprocessable):
    """The list has more rows than an export may have: narrow it with filters, for instance by `created_at`."""

    code = "export_too_large"
    title = "Export too large"

    def __init__(self, max_rows: int) -> None:
        super().__init__(f"the list has more than {max_rows} rows: narrow it with filters")
