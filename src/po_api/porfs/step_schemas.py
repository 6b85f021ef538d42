"""Bodies of requests about the steps of an approval."""

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from po_api.approvals.domain import Placement
from po_api.web.schemas import Reference, Schema

_STEP = "An open step of `/porfs/{porf_id}/approval`"


class AddedApproverInput(Schema):
    """An approver who is to be asked, too."""

    user_id: Reference = Field(description="An approver who is no author of the request")
    placement: Placement = Field(
        default=Placement.PARALLEL,
        description="Before those who are asked now (of a draft: first), together with them, or after them",
    )


class RemovedApproverInput(Schema):
    """An approver who was added: to a draft, by their id; to a pending request, by the step that asks them."""

    step_id: Reference | None = Field(default=None, description=_STEP)
    user_id: Reference | None = Field(default=None, description="An approver who was added to the draft")

    @model_validator(mode="after")
    def _one_of_both(self) -> "RemovedApproverInput":
        if (self.step_id is None) == (self.user_id is None):
            raise PydanticCustomError("ambiguous", "must have either step_id or user_id")
        return self


class StepReassignment(Schema):
    """A person of a step, and the approver who is asked instead."""

    step_id: Reference = Field(description=_STEP)
    replaced_id: Reference = Field(description="A person of the step who has not decided")
    user_id: Reference = Field(description="An approver who is no author of the request")
