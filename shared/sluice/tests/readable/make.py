"""Makes cases.json: events of a log subscription, and what each reader of them must say.

Run it again after a change: `python3 make.py > cases.json`. The Rust test `readable` holds the processor to the file.

A case has
- name
- eventBody: the event's JSON text, or a list of [text, times] to be repeated and joined
- verdict: "readable", or the dead letter's reason for the whole event
- logEvents and oddEvents, when it is readable: all log events of it, and those that are quarantined alone
- control: true for a control message, whose log events count nowhere
- deep: true when JSON outside of awslogs nests so deep that a tool may take the event for unreadable
- json: false when the payload is readable although it is not JSON as RFC 8259 has it
- note
"""

import base64
import gzip
import json
import zlib

EVENT = {"id": "1", "timestamp": 1795219199000, "message": "good"}
GOOD = json.dumps(EVENT)


def pack(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


def event_of(data: bytes) -> str:
    return json.dumps({"awslogs": {"data": base64.b64encode(data).decode()}}, separators=(",", ":"))


def payload(*events: str | bytes, **header: str) -> bytes:
    """A payload of these items; a header member given as JSON text replaces the usual one, or is left out as ""."""
    members = {
        "messageType": '"DATA_MESSAGE"',
        "owner": '"111122223333"',
        "logGroup": '"/app"',
        "logStream": '"s"',
        "subscriptionFilters": '["f"]',
    }
    listed = b",".join(e if isinstance(e, bytes) else e.encode() for e in events)
    members |= header
    log_events = members.pop("logEvents", None)
    head = ",".join(f'"{name}":{value}' for name, value in members.items() if value).encode()
    if log_events == "":
        return b"{" + head + b"}"
    return b"{" + head + b',"logEvents":' + (b"[" + listed + b"]" if log_events is None else log_events.encode()) + b"}"


CASES: list[dict] = []


def case(name: str, body, verdict: str, note: str = "", **more) -> None:
    CASES.append({"name": name, "eventBody": body, "verdict": verdict, **more, "note": note})


def readable(name: str, data: bytes, note: str = "", events: int = 1, odd: int = 0, **more) -> None:
    case(name, event_of(data), "readable", note, logEvents=events, oddEvents=odd, **more)


def refused(name: str, reason: str, data: bytes, note: str = "") -> None:
    case(name, event_of(data), reason, note)


def odd(name: str, item: str | bytes, note: str = "", **more) -> None:
    """The item between two good log events."""
    readable(f"odd event: {name}", pack(payload(GOOD, item, GOOD)), note, events=3, odd=1, **more)


def log_event(**members: str) -> str:
    """A log event of members given as JSON text; "" leaves one out."""
    members = {"id": '"2"', "timestamp": "1795219199000", "message": '"m"'} | members
    return "{" + ",".join(f'"{name}":{value}' for name, value in members.items() if value) + "}"


plain = payload(GOOD)
whole = pack(plain)

# The event around the data.
readable("a payload", whole)
readable("a payload without log events", pack(payload()), events=0)
replayed = event_of(whole)[:-1] + ',"sluiceReplay":{"attempt":1,"isLast":false,"deadLetteredMs":5},"more":1}'
case("an event with other members", replayed, "readable", logEvents=1, oddEvents=0)
for name, body in [
    ("no JSON", "hello"),
    ("empty text", ""),
    ("an empty object", "{}"),
    ("null", "null"),
    ("a list", "[1]"),
    ("a list in place of the members", '[{"data":"H4sI"},{}]'),
    ("a console test event", '{"key1":"value1","key2":"value2","key3":"value3"}'),
    ("records of another service", '{"Records":[{"eventSource":"aws:s3"}]}'),
    ("raw data", '{"awslogs":{"rawData":"H4sI"}}'),
    ("data as a number", '{"awslogs":{"data":7}}'),
    ("data as null", '{"awslogs":{"data":null}}'),
    ("awslogs twice", event_of(whole)[:-1] + "," + event_of(whole)[1:]),
    ("NaN beside the data", event_of(whole)[:-1] + ',"x":NaN}'),
    ("a byte order mark before the event", "\ufeff" + event_of(whole)),
]:
    case(f"no event: {name}", body, "not-an-awslogs-event")
for levels in (994, 1_000, 100_000):
    case(f"no event: {levels} levels of lists", [["[", levels], ["]", levels]], "not-an-awslogs-event")
    around = [[event_of(whole)[:-1] + ',"x":', 1], ["[", levels], ["]", levels], ["}", 1]]
    note = "the processor does not recurse here; a tool that does may call it unreadable, but must not fail"
    case(f"data beside {levels} levels of lists", around, "readable", note, logEvents=1, oddEvents=0, deep=True)

# Base64.
for name, data in [
    ("other characters", "%%%"),
    ("no padding", base64.b64encode(pack(payload(GOOD, GOOD + " " * 1))).decode().rstrip("=") + "A"),
    ("of URLs", "H4sIAAAAAAAA_-_-"),
    ("with line breaks", base64.encodebytes(whole).decode()),
]:
    case(f"base64: {name}", json.dumps({"awslogs": {"data": data}}), "not-base64")
case("base64: slashes escaped", event_of(whole).replace("/", "\\/"), "readable", logEvents=1, oddEvents=0)

# Gzip.
refused("gzip: plain text", "not-gzip", plain)
refused("gzip: zlib", "not-gzip", zlib.compress(plain))
refused("gzip: no data", "not-gzip", b"")
refused("gzip: zeros before it", "not-gzip", b"\0" * 4 + whole)
corrupt = bytearray(whole)
corrupt[20] ^= 0xFF
refused("gzip: a flipped byte", "corrupt-gzip", bytes(corrupt))
refused("gzip: a wrong checksum", "corrupt-gzip", whole[:-8] + bytes([whole[-8] ^ 1]) + whole[-7:])
refused("gzip: a wrong length", "corrupt-gzip", whole[:-4] + bytes([whole[-4] ^ 1]) + whole[-3:])
refused("gzip: another method than deflate", "corrupt-gzip", whole[:2] + b"\x07" + whole[3:])
refused("gzip: cut in the header", "truncated-gzip", whole[:5])
refused("gzip: cut in the data", "truncated-gzip", whole[: len(whole) // 2])
refused("gzip: cut in the trailer", "truncated-gzip", whole[:-1])
for name, tail in [("one zero", b"\0"), ("512 zeros", b"\0" * 512)]:
    readable(f"gzip: {name} after it", whole + tail, "padding, as gzip(1) and Python take it")
for name, tail in [
    ("a newline", b"\n"),
    ("garbage", b"garbage"),
    ("zeros, then garbage", b"\0" * 8 + b"garbage"),
    ("its own trailer again", whole[-8:]),
    ("plain text", plain),
]:
    refused(f"gzip: {name} after it", "data-after-gzip", whole + tail)
first, second = plain[: len(plain) // 2], plain[len(plain) // 2 :]
readable("gzip: two members", pack(first) + pack(second))
readable("gzip: three members, the middle one empty", pack(first) + pack(b"") + pack(second))
readable("gzip: two members and zeros", pack(first) + pack(second) + b"\0" * 20)
readable("gzip: zeros between two members", pack(first) + b"\0" * 20 + pack(second))
readable("gzip: a header with a file name", whole[:3] + b"\x08" + whole[4:10] + b"logs.json\0" + whole[10:])
refused("gzip: a second member that is cut", "truncated-gzip", pack(first) + pack(second)[:-3])
refused("gzip: half of a second member's magic", "truncated-gzip", whole + b"\x1f")
refused("gzip: a second member that is damaged", "corrupt-gzip", pack(first) + b"\x1f\x8b\0\0\0\0\0\0\0\0\0\0")
refused("gzip: the payload twice", "not-json", whole + whole)
refused("gzip: an empty member", "not-json", pack(b""))

# More than 64 MiB: members of blanks, three at a time so that base64 ends without padding.
blanks = pack(b" " * (1 << 20)) * 3
bomb = [['{"awslogs":{"data":"', 1], [base64.b64encode(blanks).decode(), 22], ['"}}', 1]]
case("gzip: more than 64 MiB inflated", bomb, "inflates-too-large")

# The payload's JSON.
refused("JSON: text", "not-json", pack(b"hello"))
refused("JSON: cut", "not-json", pack(plain[:-1]))
refused("JSON: cut in a log event", "not-json", pack(plain[:-20]))
refused("JSON: something after it", "not-json", pack(plain + b"}"))
refused("JSON: a byte order mark", "not-json", pack(b"\xef\xbb\xbf" + plain))
for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-32"):
    refused(f"JSON: in {encoding}", "not-json", pack(plain.decode().encode(encoding)))
refused("JSON: in Latin-1", "not-json", pack(payload(GOOD, logStream='"\u00e9"').decode().encode("latin-1")))
for number in ("NaN", "Infinity", "-Infinity", "01", "1.", "+1", "0x1"):
    refused(f"JSON: {number} beside the log events", "not-json", pack(payload(GOOD, x=number)))
refused("JSON: a control character in the log stream", "not-json", pack(payload(GOOD, logStream='"a\tb"')))
refused("JSON: a bad escape in the log stream", "not-json", pack(payload(GOOD, logStream='"a\\xb"')))
refused("JSON: brackets that do not match", "not-json", pack(payload(GOOD, '{"id":"2"]', GOOD)))
refused("JSON: a bracket too many", "not-json", pack(payload(GOOD, log_event() + "}", GOOD)))
refused("JSON: a quote that does not close", "not-json", pack(payload(GOOD, '{"id":"2', GOOD)))
readable("JSON: half a surrogate pair", pack(payload(log_event(message='"\\ud83d"'), logStream='"\\ude00"')))
readable("JSON: white space", pack(b" \r\n\t" + json.dumps(json.loads(plain), indent=1).encode() + b"\n"))
readable("JSON: a very large number", pack(payload(GOOD, x="1e999", y="9" * 5_000)), "read by nobody, so no matter")
readable("JSON: logEvents twice", pack(plain[:-1] + b',"logEvents":[' + GOOD.encode() + b"]}"), "both lists count", events=2)
readable("JSON: logGroup twice", pack(payload(GOOD)[:-1] + b',"logGroup":"/other"}'), "the last one counts")
readable("JSON: members of others", pack(payload(GOOD, policyLevel='"ACCOUNT_LEVEL_POLICY"', x="{}")))
readable("JSON: names with escapes", pack(plain.replace(b'"logEvents"', b'"log\\u0045vents"')))
readable("JSON: no owner", pack(payload(GOOD, owner="")))
for levels in (994, 1_000, 100_000):
    nested = "[" * levels + "]" * levels
    refused(f"JSON: {levels} levels of lists", "other-shape", pack(nested.encode()))
    refused(f"JSON: {levels} levels beside the log events", "other-shape", pack(payload(GOOD, x=nested)))
refused("JSON: 100000 brackets that do not close", "other-shape", pack(b"[" * 100_000), "its shape is wrong before that")

# Its shape.
for name, data in [
    ("a list", b"[]"),
    ("null", b"null"),
    ("an empty object", b"{}"),
    ("no messageType", payload(GOOD, messageType="")),
    ("messageType as null", payload(GOOD, messageType="null")),
    ("owner as a number", payload(GOOD, owner="111122223333")),
    ("no logGroup", payload(GOOD, logGroup="")),
    ("logGroup as null", payload(GOOD, logGroup="null")),
    ("no logStream", payload(GOOD, logStream="")),
    ("logStream as a list", payload(GOOD, logStream='["s"]')),
    ("no logEvents", payload(logEvents="")),
    ("logEvents as null", payload(logEvents="null")),
    ("logEvents as an object", payload(logEvents="{}")),
    ("logEvents as text", payload(logEvents='"[]"')),
]:
    refused(f"shape: {name}", "other-shape", pack(data))
refused("shape: another messageType", "unknown-message-type", pack(payload(GOOD, messageType='"NEW_MESSAGE"')))

# Control messages.
for name, data in [
    ("as CloudWatch Logs sends it", payload(log_event(id='""'), logGroup='""', logStream='""')),
    ("logEvents as null", payload(logEvents="null")),
    ("no logEvents", payload(logEvents="")),
    ("logEvents as an object", payload(logEvents="{}")),
    ("odd log events", payload("null", "7")),
    ("no other member", payload(owner="", logGroup="", logStream="", subscriptionFilters="", logEvents="")),
    ("logGroup as null", payload(logGroup="null")),
]:
    data = data.replace(b"DATA_MESSAGE", b"CONTROL_MESSAGE")
    case(f"control message: {name}", event_of(pack(data)), "readable", "acknowledged", control=True)

# One odd event among good ones.
for name, item in [("null", "null"), ("a number", "7"), ("text", '"text"'), ("a list", "[]"), ("true", "true"), ("empty", "{}")]:
    odd(name, item)
for member, values in [
    ("message", ["null", "7", "{}", "[]", "true", ""]),
    ("timestamp", ["null", '"1795219199000"', "1.5", "1795219199000.0", "1e12", "9223372036854775808", "true", ""]),
    ("id", ["null", "7", "{}"]),
]:
    for value in values:
        odd(f"{member} {'missing' if value == '' else 'as ' + value}", log_event(**{member: value}))
odd("message twice", log_event()[:-1] + ',"message":"other"}')
odd("timestamp twice", log_event()[:-1] + ',"timestamp":1}')
odd("an unknown member twice", log_event(x="1", y="2")[:-1] + ',"x":3}')
for levels in (994, 1_000, 100_000):
    odd(f"{levels} levels of lists in it", log_event(x="[" * levels + "]" * levels))
    odd(f"{levels} levels of objects as it", '{"a":' * levels + "1" + "}" * levels)
for name, item in [
    ("a tab in its message", log_event(message='"a\tb"')),
    ("a newline in its message", log_event(message='"a\nb"')),
    ("a bad escape", log_event(message='"a\\xb"')),
    ("half an escape", log_event(message='"\\u12"')),
    ("a message that is not UTF-8", log_event(message='"a\u00e9b"').encode("latin-1")),
    ("UTF-8 cut in its message", log_event(message='"\u65e5"').encode()[:-3] + b'"}'),
    ("NaN", log_event(x="NaN")),
    ("Infinity as its timestamp", log_event(timestamp="Infinity")),
    ("a comma too many", log_event()[:-1] + ",}"),
    ("a colon missing", '{"id" "2"}'),
    ("quotes inside its message", log_event(message='"he said "no" to me"')),
    ("a comment in it", log_event()[:-1] + "/* no */}"),
    ("a word", "undefined"),
]:
    odd(name, item, json=False)
bare = payload(log_event(), "", log_event(), "")
readable("commas without log events", pack(bare), "nothing is between them", events=2, json=False)
all_odd = payload("null", log_event(message="null"), "7")
readable("odd events alone", pack(all_odd), "all of them are quarantined", events=3, odd=3)

print(json.dumps(CASES, indent=1, ensure_ascii=True))
