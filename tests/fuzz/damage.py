"""Damages files as transfers, editors and attackers do, in the same way for the same seed."""

import copy
import io
import json
import random
import struct
import zipfile

_HOSTILE = (
    None, True, False, 0, -1, 1, 255, 256, 2**31, 2**63, -(2**64), 10**400, 0.5, -0.0, 1e308,
    -1e308, float("nan"), float("inf"), "", " ", "0", "-1", "1e999", "NaN", "٣", "\0", "\ud800",
    "a\nb", "../../../../etc/passwd", "x" * 5000, [], {}, [[]], [None], {"": None}, [0] * 300,
)  # fmt: skip
_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1)


def damage(data: bytes, name: str, rng: random.Random) -> bytes:
    """Returns a damaged copy of a file.

    Three in ten are damaged as bytes; the others by what the ending of their name stands for, so
    that the damage comes to the places behind checksums and parsers, too.
    """
    ending = name.rpartition(".")[2].lower()
    special = next((_SPECIAL[key] for key in _SPECIAL if ending.startswith(key)), None)
    if special is None or rng.random() < 0.3:
        return damaged_bytes(data, rng)
    return special(data, rng)


def damaged_bytes(data: bytes, rng: random.Random) -> bytes:
    """Returns bytes some of which are changed, lost or added."""
    changed = bytearray(data)
    begin = rng.randrange(len(data) + 1)
    length = min(rng.choice((1, 2, 4, 16, 256, 4096)), len(data) - begin)
    kind = rng.choice(("flip", "flip", "cut", "zero", "noise", "lose", "repeat", "add", "number",
                       "number", "nothing"))  # fmt: skip
    if kind == "flip" and data:
        for _ in range(rng.choice((1, 1, 2, 8))):
            changed[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif kind == "cut":
        del changed[begin:]
    elif kind == "zero":
        changed[begin : begin + length] = bytes(length)
    elif kind == "noise":
        changed[begin : begin + length] = rng.randbytes(length)
    elif kind == "lose":
        del changed[begin : begin + length]
    elif kind == "repeat":
        changed[begin:begin] = changed[begin : begin + length]
    elif kind == "add":
        changed[begin:begin] = rng.randbytes(rng.choice((1, 4, 100)))
    elif kind == "number":
        size, order = rng.choice((1, 2, 4, 8)), rng.choice(("little", "big"))
        number = (rng.choice(_NUMBERS) % (1 << 8 * size)).to_bytes(size, order)
        changed[begin : begin + size] = number
    elif kind == "nothing":
        changed.clear()
    return bytes(changed)


def damaged_json(data: bytes, rng: random.Random) -> bytes:
    """Returns a JSON text in which values are others, missing, or deeply nested."""
    content = copy.deepcopy(json.loads(data))
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        content = _changed(content, rng)
    text = json.dumps(content)
    if rng.random() < 0.05:
        text = rng.choice(('{"a":', "[")) * rng.choice((40, 2000, 100_000)) + text
    return text.encode()


def _changed(content, rng: random.Random):
    """Changes a value at any place; places near the root are as likely as the many leaves."""
    place, parents = content, []
    while isinstance(place, (dict, list)) and place and (not parents or rng.random() < 0.8):
        key = rng.choice(list(place) if isinstance(place, dict) else range(len(place)))
        parents.append((place, key))
        place = place[key]
    if not parents or rng.random() < 0.02:
        return rng.choice(_HOSTILE)
    parent, key = parents[-1]
    kind = rng.choice(("hostile", "hostile", "hostile", "lose", "more", "number"))
    if kind == "lose":
        del parent[key]
    elif kind == "more":
        if isinstance(parent, list):
            parent.insert(key, copy.deepcopy(rng.choice(parent)))
        else:
            parent[rng.choice(("unknown", f"{key} ", key.upper()))] = copy.deepcopy(place)
    elif kind == "number" and isinstance(place, (int, float)):
        parent[key] = rng.choice((-place, place + 1, place - 1, place * 1000, str(place), [place]))
    else:
        parent[key] = rng.choice(_HOSTILE)
    return content


def damaged_text(data: bytes, rng: random.Random) -> bytes:
    """Returns lines of fields, some of which are others, missing or exchanged."""
    lines = data.decode().splitlines()
    for _ in range(rng.choice((1, 1, 2, 4))):
        number = rng.randrange(len(lines) + 1)
        separator = rng.choice((",", " ", ":", "\t"))
        kind = rng.choice(("field", "field", "field", "line", "lose", "repeat", "exchange"))
        if kind == "line" or number == len(lines):
            lines.insert(number, rng.choice(("", "#", separator * 9, "x" * 5000, "\0", "½ é", '"')))
        elif kind == "lose":
            del lines[number]
        elif kind == "repeat":
            lines.insert(number, lines[number])
        else:
            fields = lines[number].split(separator)
            one, other = rng.randrange(len(fields)), rng.randrange(len(fields))
            if kind == "exchange":
                fields[one], fields[other] = fields[other], fields[one]
            else:
                fields[one] = str(rng.choice(_HOSTILE))[:5000]
            lines[number] = separator.join(fields)
    ending = rng.choice(("\n", "\n", "\r\n", "\r"))
    encoding = rng.choice(("utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "latin-1"))
    return (ending.join(lines) + ending).encode(encoding, errors="replace")


def damaged_zip(data: bytes, rng: random.Random) -> bytes:
    """Returns an archive with a damaged member, and what stands before it as it was."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
        begin = min(each.header_offset for each in archive.infolist())
    name = rng.choice(list(members))
    if rng.random() < 0.1:
        del members[name]
    else:
        members[name] = damage(members[name], name, rng)
    file = io.BytesIO(data[:begin])
    with zipfile.ZipFile(file, "a") as archive:
        for name, content in members.items():
            archive.writestr(name, content, rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)))
    return file.getvalue()


def damaged_lite(data: bytes, rng: random.Random) -> bytes:
    """Returns a LiteRT file with a damaged member, or, without metadata, with damaged bytes."""
    damaged = damaged_zip if zipfile.is_zipfile(io.BytesIO(data)) else damaged_bytes
    return damaged(data, rng)


def damaged_records(data: bytes, rng: random.Random) -> bytes:
    """Returns a TFRecord file with a damaged record, whose checksums are right."""
    # It loads TensorFlow, which most readers do without.
    from tensorboard.summary.writer.record_writer import RecordWriter

    records, place = [], 0
    while place < len(data):
        (length,) = struct.unpack_from("<Q", data, place)
        records.append(data[place + 12 : place + 12 + length])
        place += length + 16
    number = rng.randrange(len(records))
    records[number] = damaged_bytes(records[number], rng)
    file = io.BytesIO()
    writer = RecordWriter(file)
    for record in records:
        writer.write(record)
    return file.getvalue()


# By how the ending of a name begins: shards end in `.tfrecord-00000-of-00001`.
_SPECIAL = {
    "json": damaged_json,
    "csv": damaged_text,
    "txt": damaged_text,
    "keras": damaged_zip,
    "tflite": damaged_lite,
    "tfrecord": damaged_records,
}
