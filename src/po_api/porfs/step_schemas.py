"""Bodies of requests about the steps of an approval."""

from pydantic import Field

from po_api.approvals.domain import Placement
from po_api.web.schemas import Reference, Schema

_STEP = "An open step of `/porfs/{porf_id}/approval`"


class AddedApproverInput(Schema):
    """An approver who is to be asked, too."""

    user_id: Reference = Field(description="An approver who is no author of the request")
    placement: Placement = Field(
        default=Placement.PARALLEL, description="Before those who are asked now, together with them, or after them"
    )


class RemovedApproverInput(Schema):
    """The step of an approver who was added."""

    step_id: Reference = Field(description=_STEP)


class StepReassignment(Schema):
    """A person of a step, and the approver who is asked instead."""

    step_id: Reference = Field(description=_STEP)
    replaced_id: Reference = Field(description="A person of the step who has not decided")
    user_id: Reference = Field(description="An approver who is no author of the request")
