"""Archives whose members are measured by what they declare, before one of them is unpacked."""

from __future__ import annotations

import zipfile

from auditor.errors import AuditorError
from auditor.reading.files import machine_memory

EASY_BYTES = 256 << 20  # what anything may take, however small the file is
EXPANSION = 400
"""How many times its own size a file may take in memory beyond `EASY_BYTES`.

Zeros pack 1,030 to 1, and honest features are mostly zeros: published sets reach 10 to 50 to 1, their features stored
densely 90 to 200 to 1, and single arrays (all ones) 1,020 to 1. A limit of 100 would refuse some of those; one of 400,
with 256 MiB free, refuses what is nothing but zeros and large."""
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # all that numpy and torch write; the others pack 10^6 to 1


def check_expansion(declared: int, held: int, what: str, *, error: type[AuditorError], remedy: str) -> None:
    """Raises `error` where `held` bytes of a file would become more bytes in memory than honest data do.

    Args:
        declared: bytes in memory.
        held: bytes in the file.
        what: the subject of the message, with the file's name.
        error: of the file's role.
        remedy: how else to save it, a sentence.
    """
    most = min(max(EASY_BYTES, EXPANSION * held), machine_memory() // 2)
    if declared > most:
        raise error(f"{what} would take {declared} bytes of memory, from {held}; expected at most {most}. {remedy}")


def check_members(archive: zipfile.ZipFile, size: int, name: str, *, error: type[AuditorError]) -> None:
    """Checks what the members of an archive of `size` bytes declare, none of them read.

    Raises:
        AuditorError: of the kind given: two of one name, packed in an unusual way, encrypted, or much larger unpacked.
    """
    members = archive.infolist()
    if len({member.filename for member in members}) < len(members):
        raise error(
            f"{name} holds two members of the same name, so that two readers would see two files; expected each once. "
            "Save it again."
        )
    for member in members:
        if member.compress_type not in _METHODS or member.flag_bits & 1:
            raise error(
                f"{name}: {member.filename} is packed in an unusual way; expected stored or deflated. Save it again "
                "with numpy.savez or numpy.savez_compressed."
            )
    total = sum(member.file_size for member in members)
    check_expansion(total, size, name, error=error, remedy="Save it unpacked, or the features as a sparse matrix.")
