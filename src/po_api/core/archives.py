"""Parts of ZIP archives, from untrusted bytes."""

from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

_DIRECTORY_ENTRY = b"PK\x01\x02"


def read_part(archive: ZipFile, entry: ZipInfo, most: int) -> bytes:
    """The content of a part, at most its first `most` bytes, without unpacking more.

    Raises what the library raises for damaged archives: BadZipFile, OverflowError, zlib.error and others.
    """
    # Other methods have no limit to the output of one step: 5 kB would become gigabytes. No office program uses them.
    if entry.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
        raise BadZipFile("compressed by another method than Deflate")
    with archive.open(entry) as part:
        # `ZipFile.read` unpacks all that there is, whatever size the directory states.
        return part.read(most)


def entry_count(content: bytes) -> int:
    """How many entries the directory of an archive has, at most: opening one of 20 MB, which may have 400,000, takes
    seconds and 100 MB of memory."""
    return content.count(_DIRECTORY_ENTRY)
