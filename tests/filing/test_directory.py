"""Filing in a directory: whole files, once, in place of nothing else."""

import asyncio
import hashlib
import os
from pathlib import Path

import pytest

from po_api.filing.directory import require_writable, write
from po_api.filing.domain import FilingProblem, NotFiled

PATH = Path("7/2026/PO-2026-000001.pdf")


async def file(root: Path, content: bytes, path: Path = PATH) -> None:
    await write(root, path, content, digest=hashlib.sha256(content).hexdigest())


def files_below(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


async def test_a_file_is_written_once(tmp_path: Path) -> None:
    await file(tmp_path, b"%PDF one")
    before = (tmp_path / PATH).stat()
    await file(tmp_path, b"%PDF one")
    assert files_below(tmp_path) == {str(PATH): b"%PDF one"}
    assert (tmp_path / PATH).stat().st_ino == before.st_ino


async def test_another_file_is_never_replaced(tmp_path: Path) -> None:
    await file(tmp_path, b"%PDF one")
    with pytest.raises(NotFiled) as raised:
        await file(tmp_path, b"%PDF two")
    assert raised.value.problem is FilingProblem.NAME_TAKEN
    assert files_below(tmp_path) == {str(PATH): b"%PDF one"}


async def test_of_two_contents_one_is_filed_whole(tmp_path: Path) -> None:
    for attempt in range(20):
        path = Path(f"7/2026/PO-2026-{attempt:06d}.pdf")
        contents = [bytes([value]) * 100_000 for value in (1, 2, 1, 2)]
        ends = await asyncio.gather(*(file(tmp_path, one, path) for one in contents), return_exceptions=True)
        assert files_below(tmp_path)[str(path)] in contents
        assert [type(end) for end in ends].count(NotFiled) == 2
    assert not [name for name in files_below(tmp_path) if name.endswith(".tmp")]


async def test_a_directory_that_is_not_mounted_is_not_made(tmp_path: Path) -> None:
    for call in (file(tmp_path / "absent", b"%PDF"), require_writable(tmp_path / "absent")):
        with pytest.raises(NotFiled) as raised:
            await call
        assert raised.value.problem is FilingProblem.DIRECTORY_MISSING
    assert not (tmp_path / "absent").exists()


async def test_a_file_in_place_of_a_folder_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "7").write_bytes(b"")
    with pytest.raises(NotFiled) as raised:
        await file(tmp_path, b"%PDF")
    assert raised.value.problem is FilingProblem.DIRECTORY_READ_ONLY


async def test_links_do_not_lead_into_the_folder_of_another_organisation(tmp_path: Path) -> None:
    other = tmp_path / "8" / "2026"
    other.mkdir(parents=True)
    for place in (tmp_path / "7", tmp_path / "7" / "2026"):
        place.symlink_to(tmp_path / "8" / "2026" if place.name == "2026" else tmp_path / "8")
        with pytest.raises(NotFiled) as raised:
            await file(tmp_path, b"%PDF")
        assert (raised.value.problem, raised.value.detail) == (
            FilingProblem.DIRECTORY_READ_ONLY,
            f"{place.name} is no directory",
        )
        place.unlink()
        (tmp_path / "7").mkdir(exist_ok=True)
    assert files_below(tmp_path) == {}


async def test_whatever_has_the_name_is_neither_waited_for_nor_read_as_a_file(tmp_path: Path) -> None:
    place, elsewhere = tmp_path / PATH, tmp_path / "elsewhere"
    place.parent.mkdir(parents=True)
    elsewhere.write_bytes(b"%PDF")
    makers = (os.mkfifo, os.mkdir, lambda path: path.symlink_to(elsewhere), lambda path: path.write_bytes(b"%PDF more"))
    for make in makers:
        make(place)
        with pytest.raises(NotFiled) as raised:
            await asyncio.wait_for(file(tmp_path, b"%PDF"), 5)
        assert raised.value.problem is FilingProblem.NAME_TAKEN
        place.rmdir() if place.is_dir() else place.unlink()
    await file(tmp_path, b"%PDF")


async def test_a_writable_directory_is_left_as_it_was(tmp_path: Path) -> None:
    await require_writable(tmp_path)
    assert files_below(tmp_path) == {}
