"""The chain of revisions, read from its files without a database."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from alembic.config import Config
from alembic.script import Script, ScriptDirectory


def _project() -> Path:
    """The parent of the folder `alembic`: inside the package of an installed wheel, the top of a checkout."""
    package = Path(__file__).parents[1]
    packaged = package / "_alembic"
    return packaged if packaged.is_dir() else package.parents[1]


PROJECT = _project()


@dataclass(frozen=True)
class Loss:
    """What a downgrade loses, and FROM items that select the rows with values to lose."""

    what: str
    rows: Sequence[str]


# Later revisions declare `loses` and `lost_rows` themselves; these were released without. Names of tables and columns
# are those of the last revision, at which the queries are executed, unless a revision declares `moved_rows`.
_LANDED: Mapping[str, Loss | None] = {
    "001": Loss("organisations, users, requests", ("organisations", "users", "porfs")),
    "002": Loss("suppliers", ("suppliers",)),
    "003": Loss(
        "requests' lines, amounts, currencies, cost centres and dates; organisations' settings for money",
        (
            "porf_lines",
            "porfs WHERE cost_centre IS NOT NULL OR needed_by IS NOT NULL OR currency <> 'EUR'"
            " OR tax_rounding <> 'document' OR (net, tax, total) <> (0, 0, 0)",
            "organisations WHERE currency <> 'EUR' OR tax_rounding <> 'document' OR over_order_percent <> 0",
        ),
    ),
    "004": Loss(
        "requests' states and suppliers",
        (
            "porfs WHERE status <> 'draft' OR supplier_id IS NOT NULL OR approval_round <> 1"
            " OR submitted_at IS NOT NULL OR decided_at IS NOT NULL",
            "organisations WHERE allow_self_approval",
        ),
    ),
    "005": Loss(
        "purchase orders, their lines, allocations and documents; number series",
        (
            "purchase_orders",
            "purchase_order_lines",
            "purchase_order_files",
            "allocations",
            "number_series",
            "organisations WHERE porf_prefix <> 'PORF' OR po_prefix <> 'PO'",
        ),
    ),
    "006": Loss(
        "decisions, comments, history; approvers' limits",
        ("approval_decisions", "porf_comments", "audit_events", "users WHERE approval_limit IS NOT NULL"),
    ),
    "007": None,
    "008": Loss("idempotency records", ("idempotency_records",)),
    "009": Loss(
        "sessions; users' identities, roles and last sign-ins",
        (
            "sessions",
            "users WHERE google_id IS NOT NULL OR identity_issuer IS NOT NULL OR is_operator OR last_login IS NOT NULL",
            "users WHERE roles <> '{requester}'",
        ),
    ),
    "010": Loss(
        "API keys; sign-ins in progress",
        ("api_keys", "rotated_tokens", "sign_in_attempts", "sign_in_codes"),
    ),
    "011": None,
}
NOT_SAID = "unspecified data"
# The revision that creates `schema_info`, the table with the compatibility of the schema.
SCHEMA_INFO_SINCE = "013"


class UnknownRevision(Exception):
    """There is no such revision in this version of the application."""


@dataclass(frozen=True)
class Revision:
    """A revision of the chain; `below` is the one before it.

    `loses` is what its downgrade may lose, None if nothing; `lost_rows` are the FROM items that select it, None if
    there always is something. `moved_rows` are FROM items of earlier revisions, and where their data is from this
    revision on. `compatible_since` is the oldest revision whose application works with this schema.
    """

    name: str
    below: str | None
    title: str
    loses: str | None
    lost_rows: Sequence[str] | None
    moved_rows: Mapping[str, str]
    compatible_since: str


@dataclass(frozen=True)
class Step:
    """One revision's upgrade or downgrade; `target` is the revision of the database after it, None if empty."""

    revision: Revision
    is_upgrade: bool

    @property
    def target(self) -> str | None:
        return self.revision.name if self.is_upgrade else self.revision.below


def alembic_config() -> Config:
    """Alembic's configuration, made in code since a wheel has no alembic.ini."""
    config = Config()
    config.set_main_option("script_location", str(PROJECT / "alembic").replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def scripts() -> ScriptDirectory:
    """The files of this version's revisions. Read once: a deployment may replace them, and reading takes 35 ms."""
    return _scripts(PROJECT)


@cache
def _scripts(_project: Path) -> ScriptDirectory:
    return ScriptDirectory.from_config(alembic_config())


def head_revision() -> str:
    """The revision that this version of the application was written for."""
    return chain()[-1].name


def chain(directory: ScriptDirectory | None = None) -> Sequence[Revision]:
    """All revisions, the oldest first: of this version, or of another directory."""
    return _chain(directory or scripts())


@cache
def _chain(directory: ScriptDirectory) -> Sequence[Revision]:
    found: list[Revision] = []
    for script in [*directory.walk_revisions()][::-1]:
        found.append(_revision(script, found[-1] if found else None))
    return tuple(found)


def _revision(script: Script, before: Revision | None) -> Revision:
    below = script.down_revision
    assert below is None or isinstance(below, str)
    landed = _LANDED.get(script.revision, Loss(NOT_SAID, ()))
    if hasattr(script.module, "loses"):
        loses, rows = script.module.loses, getattr(script.module, "lost_rows", None)
    else:
        loses, rows = (landed.what, landed.rows) if landed else (None, None)
    # An expanding revision is compatible with the same versions as the one before it.
    is_expanding = before is not None and getattr(script.module, "expands", False)
    since = before.compatible_since if before is not None and is_expanding else script.revision
    moved = getattr(script.module, "moved_rows", {})
    since = getattr(script.module, "compatible_since", since)
    return Revision(script.revision, below, script.doc, loses, rows, moved, since)


def up_to(revision: str | None, directory: ScriptDirectory | None = None) -> Sequence[Revision]:
    """The revisions that a database at `revision` has, the oldest first. Raises UnknownRevision."""
    revisions = chain(directory)
    return revisions[: _position([known.name for known in revisions], revision)]


def next_name(directory: ScriptDirectory) -> str:
    """The name of the next revision: its number with three digits."""
    head = directory.get_current_head()
    return f"{int(head or 0) + 1:03}"


def is_revision(name: str) -> bool:
    """Whether `name` is a revision of this version, `head` or `base`."""
    return name in {"head", "base"} or name in {revision.name for revision in chain()}


def is_known(revision: str | None) -> bool:
    """Whether `revision` is one of this version; None is an empty database."""
    return revision is None or revision in {known.name for known in chain()}


def loses(revision: str) -> str | None:
    """What the downgrade of `revision` may lose, None if nothing."""
    return next(known.loses for known in chain() if known.name == revision)


def compatible_since(revision: str | None, directory: ScriptDirectory | None = None) -> str | None:
    """The oldest revision whose application works with a schema at `revision`; None before SCHEMA_INFO_SINCE."""
    present = up_to(revision, directory)
    if SCHEMA_INFO_SINCE not in {known.name for known in present}:
        return None
    return present[-1].compatible_since


def route(current: str | None, to: str = "head") -> Sequence[Step]:
    """The steps from one revision (None: empty) to another, one of which may be `head` or `base`.

    Raises UnknownRevision for a revision that this version does not have.
    """
    revisions = chain()
    names = [revision.name for revision in revisions]
    start = _position(names, current)
    end = len(names) if to == "head" else _position(names, None if to == "base" else to)
    if start <= end:
        return [Step(revision, is_upgrade=True) for revision in revisions[start:end]]
    return [Step(revision, is_upgrade=False) for revision in reversed(revisions[end:start])]


def _position(names: Sequence[str], name: str | None) -> int:
    """The number of revisions that a database at `name` has."""
    if name is None:
        return 0
    if name not in names:
        raise UnknownRevision(f"revision {name} is unknown to this version, whose last revision is {names[-1]}")
    return names.index(name) + 1
