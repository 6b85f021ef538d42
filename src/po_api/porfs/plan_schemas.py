"""Bodies of simulations of approvals."""

from typing import Annotated

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from po_api.porfs.content import MAX_LINES
from po_api.web.schemas import Currency, PercentString, PriceString, QuantityString, Reference, Schema

_NO_PERCENT = Field(default="0", validate_default=True)


class SimulatedLine(Schema):
    """What the approval of a line depends on."""

    quantity: QuantityString
    unit_price: PriceString
    discount_percent: PercentString = _NO_PERCENT
    tax_rate: PercentString = _NO_PERCENT
    category_id: Reference | None = None
    cost_centre_id: Annotated[Reference | None, Field(description="Default: that of the request")] = None


class ApprovalSimulation(Schema):
    """A request of the organisation, or one that does not exist: with its requester and its lines."""

    porf_id: Reference | None = None
    requester_id: Reference | None = None
    supplier_id: Reference | None = None
    cost_centre_id: Reference | None = None
    currency: Currency | None = Field(default=None, description="Default: the base currency of the organisation")
    lines: Annotated[list[SimulatedLine], Field(max_length=MAX_LINES)] = Field(default=[])

    @model_validator(mode="after")
    def _one_of_both(self) -> "ApprovalSimulation":
        others = self.model_fields_set - {"porf_id"}
        if (self.porf_id is None) == (self.requester_id is None) or (self.porf_id is not None and others):
            raise PydanticCustomError("ambiguous", "must have either porf_id alone, or requester_id with the rest")
        return self
