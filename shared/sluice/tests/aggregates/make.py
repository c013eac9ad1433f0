#!/usr/bin/env python3
"""Makes the aggregates beside this script with AWS's own aggregator, for `shared/tests/aggregates.rs`.

    .tools/venv/bin/python shared/tests/aggregates/make.py        (after `make tools`)

Each `<name>.bin` is the data of one Kinesis record; `expected.json` has what was put into it, in order.
"""

import json
from base64 import b64encode
from pathlib import Path

from aws_kinesis_agg.aggregator import RecordAggregator

HERE = Path(__file__).resolve().parent
HASH_KEY_MAX = str(2**128 - 1)

# name -> (partition key, data, explicit hash key) of each user record
RECORDS = {
    "one-key": [("key", f"event {number}".encode(), None) for number in range(20)],
    "many-keys": [(f"key-{number % 7}", f'{{"n":{number}}}'.encode(), None) for number in range(30)],
    "one-record": [("alone", b"a lone event in an aggregate", None)],
    "explicit-hash-keys": [(f"key-{number % 3}", b"x" * number, str(number % 2) or None) for number in range(9)]
    + [("last", b"at the end of the hash space", HASH_KEY_MAX)],
    "unicode": [("schlüssel-日本", "日本語 é 🦀".encode(), None), ("plain", "\u2028\n\t\0".encode(), None)],
    "binary": [("bytes", bytes(range(256)), None), ("empty", b"", None), ("magic", b"\xf3\x89\x9a\xc2", None)],
    # Lengths whose varints take two and three bytes.
    "long": [("long", b"l" * length, None) for length in (127, 128, 16_384)],
}


def main() -> None:
    expected = {}
    for name, records in RECORDS.items():
        aggregator = RecordAggregator()
        for partition_key, data, explicit_hash_key in records:
            complete = aggregator.add_user_record(partition_key, data, explicit_hash_key)
            assert complete is None, f"{name} fits one record"
        partition_key, explicit_hash_key, data = aggregator.clear_and_get().get_contents()
        (HERE / f"{name}.bin").write_bytes(data)
        expected[name] = [
            {"partitionKey": partition_key, "explicitHashKey": explicit_hash_key, "data": b64encode(data).decode()}
            for partition_key, data, explicit_hash_key in records
        ]
    (HERE / "expected.json").write_text(json.dumps(expected, ensure_ascii=False, indent=1) + "\n")


if __name__ == "__main__":
    main()
