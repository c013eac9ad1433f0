"""Takes the log events out of a record that Sluice wrote, in any of its formats. Standard library only.

Alone, it prints the events of the records that it reads, one base64 text per line:

    aws kinesis get-records --shard-iterator "$ITERATOR" --query 'Records[].[Data]' --output text | python3 events.py
"""

from __future__ import annotations

import base64
import hashlib
import sys
import zlib

AGGREGATE = b"\xf3\x89\x9a\xc2"  # KPL: magic, protobuf, MD5 of the protobuf
GZIP = b"\x1f\x8b"  # one event per line
MD5_BYTES = 16


def events(data: bytes) -> list[bytes]:
    """The events in a record's data, whatever its format. A damaged record is one event, as it came."""
    try:
        if data.startswith(AGGREGATE):
            return _deaggregate(data[len(AGGREGATE) : -MD5_BYTES], data[-MD5_BYTES:])
        if data.startswith(GZIP):
            return _gunzip(data).removesuffix(b"\n").split(b"\n")
    except (ValueError, IndexError, zlib.error) as damage:
        print(f"damaged record: {damage}", file=sys.stderr)
    return [data]


def _deaggregate(message: bytes, digest: bytes) -> list[bytes]:
    if hashlib.md5(message, usedforsecurity=False).digest() != digest:
        raise ValueError("wrong MD5")
    found = [_fields(record, 3) for record in _fields(message, 3)]
    if not found or not all(found):
        raise ValueError("an aggregate without events")
    return [contents[-1] for contents in found]


def _fields(message: bytes, number: int) -> list[bytes]:
    """The fields of a protobuf message that have this number and hold bytes."""
    found = []
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        value, at = _varint(message, at)
        if tag & 7 == 0:
            continue  # a number
        if tag & 7 != 2 or at + value > len(message):
            raise ValueError("unexpected protobuf")
        if tag >> 3 == number:
            found.append(message[at : at + value])
        at += value
    return found


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _gunzip(data: bytes) -> bytes:
    """Every member of the gzip data."""
    out = b""
    while data:
        member = zlib.decompressobj(wbits=31)
        out += member.decompress(data)
        if not member.eof:
            raise ValueError("truncated gzip")
        data = member.unused_data
    return out


if __name__ == "__main__":
    for line in sys.stdin:
        for event in events(base64.b64decode(line)):
            sys.stdout.buffer.write(event + b"\n")
