import { api, type Schemas } from "../api";
import { h, status, table } from "../dom";
import { unwrap } from "../problems";

type Step = Schemas["PlannedStepRead"] | Schemas["ApprovalStepRead"];

/** Who has to approve a request: of a draft, as far as is known now. */
export async function approval(porf: Schemas["PorfRead"]): Promise<Node[]> {
  const params = { path: { porf_id: porf.id } };
  if (porf.status !== "draft") {
    const { data } = await api.GET("/api/v1/porfs/{porf_id}/approval", { params });
    // A draft that was cancelled has none.
    return data ? [steps(data.steps)] : [];
  }
  const plan = unwrap(await api.GET("/api/v1/porfs/{porf_id}/approval-preview", { params }));
  return [steps(plan.steps), ...plan.warnings.map((warning) => h("p", { role: "note" }, warning.detail))];
}

const steps = (all: Step[]): Node =>
  table(
    "Approval",
    ["Stage", "Rule", "Who", "Required", "Status", "Decided by"],
    all.map((step) => [
      String(step.stage),
      step.name,
      step.people.length ? step.people.map((person) => person.name).join(", ") : pool(step),
      String(step.required_count),
      "status" in step ? status(step.status) : step.is_skipped ? "skipped" : "",
      "decisions" in step ? step.decisions.map(by).join(", ") : "",
    ]),
  );

const by = (made: Schemas["StepDecisionRead"]): string =>
  made.on_behalf_of_name === null ? made.approver_name : `${made.approver_name} for ${made.on_behalf_of_name}`;

/** A group, or a role of the organisation. */
const pool = (step: Step): string => step.pool_group_name ?? (step.pool_role ? `any ${step.pool_role}` : "nobody");
