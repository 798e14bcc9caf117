"""Tensors in the safetensors format, whichever role their file has."""

from __future__ import annotations

from torch import Tensor

from auditor.data.raw import MAX_UNHELD
from auditor.errors import AuditorError
from auditor.reading.files import first_line, library_errors


def read_safetensors(raw: bytes, name: str, *, error: type[AuditorError]) -> dict[str, Tensor]:
    """The tensors by name.

    Args:
        raw: the file's bytes.
        name: of the file, for messages.
        error: what is raised; its exit code is that of the file's role.

    Raises:
        AuditorError: of the kind given: damaged, or more rows of nothing than any file has.
    """
    from safetensors.torch import load

    remedy = "Save it again with safetensors.torch.save_file."
    try:
        tensors: dict[str, Tensor] = load(raw)
    except library_errors() as found:
        raise error(
            f"{name} is not a valid safetensors file: {first_line(found)}; expected tensors by name. {remedy}"
        ) from None
    for key, value in tensors.items():
        if not value.numel() and max(value.shape) > MAX_UNHELD:
            raise error(f"{name}: {key} is {list(value.shape)}; expected numbers, and the file holds none. {remedy}")
    return tensors
