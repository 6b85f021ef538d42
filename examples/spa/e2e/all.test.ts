import { after, afterEach, before, describe } from "node:test";
import { collaboration } from "./collaboration";
import { idTokenSignIns } from "./id-token-sign-ins";
import { invitations } from "./invitations";
import { mainJob } from "./main-job";
import { MODES } from "./person";
import { refusals } from "./refusals";
import { sessions } from "./sessions";
import { supplier } from "./supplier";
import { Together } from "./together";

describe("the app, the API and an identity provider", { timeout: 900_000 }, () => {
  const together = new Together();
  before(() => together.begin());
  afterEach(() => together.everybodyLeaves());
  after(() => together.end());

  for (const mode of MODES) {
    mainJob(mode, together);
    sessions(mode, together);
  }
  collaboration(together);
  supplier(together);
  invitations(together);
  idTokenSignIns(together);
  refusals(together);
});
