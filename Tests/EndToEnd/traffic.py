"""Events of our own for topologies/quickstart, and every kind of record that is none."""
import json
import random

START = 1_772_618_400_000
#: What `weir` must say about each kind of poison.
CODES = {
    "invalid_utf8": "invalid_utf8", "truncated": "truncated_json", "nul": "control_character", "huge": "record_too_large",
    "duplicate_keys": "duplicate_field", "long_number": "number_out_of_range",
    "overflow": "timestamp_out_of_range", "lone_surrogate": "invalid_escape", "year_9999": "timestamp_out_of_range",
    "negative_time": "timestamp_out_of_range", "seconds": "timestamp_out_of_range", "tombstone": "tombstone",
}


def orders(count, seed=1, accounts=2000, start=START):
    """Orders in order of time; a few accounts order so often that the rule of quickstart speaks."""
    r = random.Random(seed)
    t = start
    for i in range(count):
        t += r.randrange(0, 2000)
        account = f"hot{r.randrange(5)}" if r.random() < 0.05 else f"a{r.randrange(accounts)}"
        yield json.dumps({"id": f"o{i:08d}", "ts": t, "account": account, "amount": r.randrange(100, 40000) / 100},
                         separators=(",", ":")).encode()


def poison(kind, number):
    """One bad record; number makes it recognisable where the kind allows. None is a tombstone."""
    name = f"x{number:07d}"
    text = f'{{"id":"{name}","ts":{START},"account":"bad","amount":1.00'
    match kind:
        case "invalid_utf8": return text.replace("bad", "b\x00d").encode().replace(b"\x00", b"\xc3\x28") + b"}"
        case "truncated": return text.encode()
        case "nul": return text.replace("bad", "b\x00d").encode() + b"}"
        case "huge": return (text + ',"note":"').encode() + b"n" * (10 << 20) + b'"}'
        case "duplicate_keys": return (text + ',"account":"good"}').encode()
        case "long_number": return text.replace(str(START), "1" * 10_000).encode() + b"}"
        case "overflow": return text.replace(str(START), "1e999").encode() + b"}"
        case "lone_surrogate": return text.replace("bad", "\\ud800").encode() + b"}"
        case "year_9999": return text.replace(str(START), "253402300799000").encode() + b"}"
        case "negative_time": return text.replace(str(START), "-1").encode() + b"}"
        case "seconds": return text.replace(str(START), str(START // 1000)).encode() + b"}"
        case "tombstone": return None
    raise ValueError(kind)
