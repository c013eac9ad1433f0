"""A Lambda function that reads the stream through an event source mapping.

Turn on ReportBatchItemFailures: a batch that fails is then repeated from the record that failed, and not from its beginning.
"""

from __future__ import annotations

import base64
import json
from typing import Any

from events import events


def process(event: bytes) -> None:
    """Replace this by what you do with an event. The default transform sends JSON objects."""
    envelope = json.loads(event)
    print(envelope["logGroup"], envelope["timestamp"], envelope["message"])


def handler(batch: dict[str, Any], _context: Any = None) -> dict[str, Any]:
    for record in batch["Records"]:
        kinesis = record["kinesis"]
        try:
            for event in events(base64.b64decode(kinesis["data"])):
                process(event)
        except Exception as error:
            print(f"{kinesis['sequenceNumber']}: {error!r}")
            return {"batchItemFailures": [{"itemIdentifier": kinesis["sequenceNumber"]}]}
    return {"batchItemFailures": []}
