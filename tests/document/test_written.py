"""A document as we wrote it is read the short way, to the same record; everything else is read the long way."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest

from auditor.document import Audit, Estimate, from_bytes, sealed, serial, to_bytes
from auditor.errors import DocumentError, UsageError
from reports.json import JsonReport
from tests.policy.samples import audit_of, cell, measurement
from tests.reports import samples
from tests.reports.compared import AUDITS
from tests.reports.large import large

OWN = {name: make for name, make in AUDITS.items() if make().results} | {"large": lambda: large(120)}


def short(raw: bytes) -> Audit | None:
    return serial._read_as_written(raw)


@pytest.mark.parametrize("make", OWN.values(), ids=OWN)
def test_the_short_way_gives_the_record_that_the_long_way_gives(make: Callable[[], Audit]) -> None:
    audit = make()
    audit = audit if audit.digest else sealed(audit)
    raw = to_bytes(audit)
    found = short(raw)
    if not audit.plan or b"\\u" in raw:  # documents of before, and escaped signs, are not as they are hashed
        assert found is None
        return
    assert found is not None
    long = serial._validated(json.loads(raw), strict=True)
    assert found == long
    assert to_bytes(found) == raw
    assert serial.digest_of(found) == audit.digest
    assert [r.model_fields_set for r in found.results] == [r.model_fields_set for r in long.results]


def test_one_seed_that_says_all_is_kept_once_and_a_signed_zero_is_not() -> None:
    raw = to_bytes(large(60))
    result = from_bytes(raw).results[0]
    assert result.estimate is result.by_seed[0].estimate
    assert result.controls is result.by_seed[0].controls
    zero = audit_of([cell(measurement(0.0, -0.1, 0.1, control=0.0))])
    (number,) = zero.results
    signed = number.by_seed[0].model_copy(update={"estimate": Estimate(value=-0.0, n=1000)})
    other = sealed(zero.model_copy(update={"results": (number.model_copy(update={"by_seed": (signed,)}),)}))
    (read,) = from_bytes(to_bytes(other)).results
    assert (str(read.estimate.value), str(read.by_seed[0].estimate.value)) == ("0.0", "-0.0")


def test_copies_of_what_was_read_do_not_change_each_other() -> None:
    first, second = from_bytes(to_bytes(large(60))).results[:2]
    copied = first.model_copy(update={"arm": "other"})
    assert copied.model_fields_set == second.model_fields_set
    assert (first.arm, second.arm) == ("none", "none")


def resealed(text: str) -> bytes:
    """Bytes that state the digest that they have, whatever stands in them."""
    start, _, rest = text.partition('\n "digest": "')
    lines = (start + rest[66:]).split("\n")
    kept = [line for line in lines if not any(f'"{name}": ' in line for name in serial.VOLATILE)]
    digest = hashlib.sha256("\n".join(kept).encode()).hexdigest()
    return f'{start}\n "digest": "{digest}",{rest[66:]}'.encode()


ODD: dict[str, Callable[[str], str]] = {
    "a key twice": lambda text: text.replace('"lo_to": "",', '"lo_to": "",\n    "lo_to": "",', 1),
    "no comma": lambda text: text.replace('\n  },\n  {\n   "access"', '\n  }\n  {\n   "access"', 1),
    "a comma too many": lambda text: text.replace('\n  }\n ],\n "schema', '\n  },\n ],\n "schema', 1),
    "no number": lambda text: text.replace('"p_for": null', '"p_for": NaN', 1),
    "another field": lambda text: text.replace('"p_for": null', '"p_fot": null', 1),
    "results elsewhere": lambda text: text.replace('"config": {}', '"config": {\n "results": [\n  {}\n ]\n}', 1),
}


@pytest.mark.parametrize("change", ODD.values(), ids=ODD)
def test_a_digest_of_its_own_does_not_bring_odd_bytes_in(change: Callable[[str], str]) -> None:
    text = to_bytes(large(60)).decode()
    assert short(resealed(text)) is not None
    changed = change(text)
    assert changed != text
    raw = resealed(changed)
    assert short(raw) is None
    with pytest.raises((UsageError, DocumentError)):
        from_bytes(raw)


def test_what_no_equal_run_reproduces_may_differ_and_numbers_may_not() -> None:
    text = to_bytes(samples.realistic()).decode()
    found = short(text.encode())
    assert found is not None
    slower: Any = text.replace('"seconds": ', '"seconds": 1', 1)
    assert slower != text
    assert short(slower.encode()) is not None
    assert short(text.replace('"seed": 0', '"seed": 1', 1).encode()) is None


def older(without: tuple[str, ...]) -> dict[str, Any]:
    """A document of ours from before its cells had these fields, with the digest that it was given then."""
    content: Any = json.loads(to_bytes(samples.realistic()))
    for row in content["cells"]:
        for name in without:
            assert not row.pop(name), "a default that is not empty says something"
    del content["digest"]
    bare = _without_volatile(content)
    text = json.dumps(bare, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    return {**content, "digest": hashlib.sha256(text.encode()).hexdigest()}


def _without_volatile(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_volatile(item) for key, item in value.items() if key not in serial.VOLATILE}
    return [_without_volatile(item) for item in value] if isinstance(value, list) else value


LAYOUTS: dict[str, Callable[[Any], str]] = {
    "ours": lambda content: json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n",
    "wider": lambda content: json.dumps(content, indent=4, sort_keys=True),
    "one line": json.dumps,
    "another order": lambda content: json.dumps(dict(reversed(content.items())), indent=2),
}
FIELDS = ("lacks", "exposed")
"""Fields of a cell whose defaults are empty, as one that was added to the schema has to have."""


@pytest.mark.parametrize("lay", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("without", [FIELDS, FIELDS[:1], ()], ids=["two", "one", "none"])
def test_a_document_of_before_a_field_is_read_however_it_is_laid_out(
    without: tuple[str, ...], lay: Callable[[Any], str]
) -> None:
    content = older(without)
    read = from_bytes(lay(content).encode())
    assert read == from_bytes(to_bytes(samples.realistic())).model_copy(update={"digest": content["digest"]})


def test_a_document_of_before_a_field_that_is_written_again_can_be_read_again() -> None:
    read = from_bytes(LAYOUTS["one line"](older(FIELDS)).encode())
    again = from_bytes(JsonReport().render(read))
    assert again.model_copy(update={"digest": read.digest}) == read
    assert to_bytes(samples.realistic()) == JsonReport().render(samples.realistic())


@pytest.mark.parametrize("lay", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize(
    "tamper",
    [
        lambda content: content["cells"][0].update(reason="another"),
        lambda content: content["cells"][0].update(lacks=["RETRAIN"]),
        lambda content: content["cells"][0].update(lacks=[]),
        lambda content: content["cells"][0].pop("series"),
        lambda content: content["results"][0]["estimate"].update(n=7),
        lambda content: content.update(profile="full"),
        lambda content: content.update(digest="0" * 64),
    ],
    ids=["a word", "a field filled", "a field added", "a field taken", "a count", "the profile", "the digest"],
)
def test_a_document_of_before_a_field_that_was_changed_is_refused(
    tamper: Callable[[Any], object], lay: Callable[[Any], str]
) -> None:
    content = older(FIELDS)
    from_bytes(lay(content).encode())
    tamper(content)
    with pytest.raises(DocumentError, match="does not have its digest"):
        from_bytes(lay(content).encode())
