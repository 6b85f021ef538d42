"""The chain of revisions, as its files have it; no database is asked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from alembic.config import Config
from alembic.script import Script, ScriptDirectory


def _project() -> Path:
    """Where the folder `alembic` is: inside the package of an installed wheel, at the top of a checkout."""
    package = Path(__file__).parents[1]
    packaged = package / "_alembic"
    return packaged if packaged.is_dir() else package.parents[1]


PROJECT = _project()

# What going back loses. Later revisions say it themselves, as `loses`; these have landed without.
_LANDED: Mapping[str, str | None] = {
    "001": "organisations, users, requests",
    "002": "suppliers",
    "003": "requests' lines, amounts, currencies, cost centres and dates; organisations' settings for money",
    "004": "requests' states and suppliers",
    "005": "purchase orders, their lines, allocations and documents; number series",
    "006": "decisions, comments, history; approvers' limits",
    "007": None,
    "008": "idempotency records",
    "009": "sessions; users' identities, roles and last sign-ins",
    "010": "API keys; sign-ins in progress",
    "011": None,
}
NOT_SAID = "unspecified data"


class UnknownRevision(Exception):
    """There is no such revision in this version of the application."""


@dataclass(frozen=True)
class Revision:
    """One link of the chain; `loses` is what its downgrade loses, None if nothing."""

    name: str
    below: str | None
    title: str
    loses: str | None


@dataclass(frozen=True)
class Step:
    """One revision's upgrade or downgrade; `target` is where the database is after it, None if empty."""

    revision: Revision
    is_upgrade: bool

    @property
    def target(self) -> str | None:
        return self.revision.name if self.is_upgrade else self.revision.below


def alembic_config() -> Config:
    """Alembic's configuration, of which a wheel has no file."""
    config = Config()
    config.set_main_option("script_location", str(PROJECT / "alembic").replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


@cache
def head_revision() -> str:
    """The revision that this version of the application was written for; the files may be another's by and by."""
    head = ScriptDirectory.from_config(alembic_config()).get_current_head()
    assert head is not None
    return head


def chain() -> list[Revision]:
    """All revisions, the oldest first."""
    scripts = ScriptDirectory.from_config(alembic_config()).walk_revisions()
    return [_revision(script) for script in scripts][::-1]


def _revision(script: Script) -> Revision:
    below = script.down_revision
    assert below is None or isinstance(below, str)
    loses = getattr(script.module, "loses", _LANDED.get(script.revision, NOT_SAID))
    return Revision(script.revision, below, script.doc, loses)


def is_revision(name: str) -> bool:
    """Whether `name` is something to migrate to."""
    return name in {"head", "base"} or name in {revision.name for revision in chain()}


def is_known(revision: str | None) -> bool:
    """Whether a database may be at `revision` as far as this version knows; None is an empty one."""
    return revision is None or revision in {known.name for known in chain()}


def loses(revision: str) -> str | None:
    """What the downgrade of `revision` loses, None if nothing."""
    return next(known.loses for known in chain() if known.name == revision)


def route(current: str | None, to: str = "head") -> Sequence[Step]:
    """The steps from one revision (None: empty) to another, one of which may be `head` or `base`.

    Raises UnknownRevision for one that is none of this version's.
    """
    revisions = chain()
    names = [revision.name for revision in revisions]
    start = _position(names, current)
    end = len(names) if to == "head" else _position(names, None if to == "base" else to)
    if start <= end:
        return [Step(revision, is_upgrade=True) for revision in revisions[start:end]]
    return [Step(revision, is_upgrade=False) for revision in reversed(revisions[end:start])]


def _position(names: Sequence[str], name: str | None) -> int:
    """How many revisions a database at `name` has."""
    if name is None:
        return 0
    if name not in names:
        raise UnknownRevision(f"revision {name} is unknown to this version, whose last revision is {names[-1]}")
    return names.index(name) + 1
