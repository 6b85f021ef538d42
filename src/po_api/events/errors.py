"""Errors of the feed."""

from po_api.core.errors import BadRequest, FieldError, Gone


class FeedChanged(Gone):
    """The database was restored from a backup: numbers after the backup are given again. Continue with `next`, which is
    the position in the new feed up to which both feeds are the same; events after it did not happen.

    Without `next` the organisation has no numbered events: start again without `after`.
    """

    code = "feed_changed"
    title = "Feed changed"

    def __init__(self, position: str | None) -> None:
        how = "start again without `after`" if position is None else f"continue with after={position}"
        error = FieldError("/after", self.code, self.title, "query")
        super().__init__(f"the feed was replaced by a restore: {how}", errors=(error,), next_position=position)


class UnknownPosition(BadRequest):
    """The feed has not reached this number: send the `next` of an earlier response."""

    code = "unknown_position"
    title = "Unknown position"

    def __init__(self) -> None:
        super().__init__(errors=(FieldError("/after", self.code, self.title, "query"),))
