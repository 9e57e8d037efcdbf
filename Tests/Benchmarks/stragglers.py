#!/usr/bin/env python3
"""One busy key, 1,000 events a second, a tenth of them up to 290 s late: events per second on one thread, beside the same events in order.

Every count is compared with its definition, and all four windows on a sample of the rows.
"""
import argparse
import bisect
import json
import pathlib
import random
import tempfile

from figures import Run, figure, note, shown, wrong

TOPOLOGY = """\
topology: stragglers
version: 1
description: one busy key
time: { lateness: 5m }
events:
  event:
    topic: events
    time: ts
    id: id
    subject: account
    emit: flagged
    fields:
      id: { type: string, required: true, max_length: 32 }
      ts: { type: timestamp, format: ms }
      account: { type: string, entity: account, max_length: 64 }
      ip: { type: string, entity: ip, required: true, max_length: 64 }
      amount: { type: int, required: true }
"""
MINUTE = 60_000
# Name, function, minutes.
WINDOWS = [("events_5m", "count()", 5), ("sum_10m", "sum(amount)", 10), ("ips_10m", "distinct(ip)", 10), ("most_60m", "max(amount)", 60)]
EPOCH = 4096


def made(count, seed):
    generator = random.Random(seed)
    events = []
    for i in range(count):
        late = generator.randrange(290_000) if generator.random() < .1 else 0
        events.append((1_700_000_000_000 + i - late, f"10.0.{generator.randrange(40)}.{generator.randrange(250)}", generator.randrange(100_000)))
    return events


def write(path, events):
    with open(path, "w") as file:
        for i, (time, ip, amount) in enumerate(events):
            file.write(f'{{"id":"{i}","ts":{time},"account":"hot","ip":"{ip}","amount":{amount}}}\n')


def check(rows, events):
    """An event's windows are those of its own time, over what was judged before it: epochs of 4,096, each in the order of its times."""
    order = [i for start in range(0, len(events), EPOCH) for i in sorted(range(start, min(start + EPOCH, len(events))), key=lambda i: events[i][0])]
    with open(rows) as file:
        read = [json.loads(line) for line in file]
    if len(read) != len(events):
        wrong(f"{len(read)} rows of {len(events)} events")
    times, step = [], max(1, len(events) // 100)
    for number, (i, row) in enumerate(zip(order, read)):
        time = events[i][0]
        bisect.insort(times, time)
        want = {"events_5m": bisect.bisect_right(times, time) - bisect.bisect_right(times, time - 5 * MINUTE)}
        if number % step == 0 or number == len(events) - 1:
            for name, function, minutes in WINDOWS:
                inside = [events[j] for j in order[:number + 1] if time - minutes * MINUTE < events[j][0] <= time]
                want[name] = {"count()": len(inside), "sum(amount)": sum(e[2] for e in inside), "distinct(ip)": len({e[1] for e in inside}),
                              "max(amount)": max(e[2] for e in inside)}[function]
        for name, value in want.items():
            if row[name] != value:
                wrong(f"row {number + 1}: {name} is {row[name]}, not {value}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weir", required=True)
    parser.add_argument("--events", type=int, default=100_000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="weir-stragglers-") as name:
        folder = pathlib.Path(name)
        topology, source, sorted_source, rows = (folder / n for n in ("topology", "late.jsonl", "in-order.jsonl", "rows.jsonl"))
        (topology / "rules").mkdir(parents=True)
        (topology / "topology.yaml").write_text(TOPOLOGY)
        (topology / "rules" / "windows.weir").write_text(
            "".join(f"feature {name} = {function} of event by account over {minutes}m\n" for name, function, minutes in WINDOWS))
        events = made(arguments.events, 1)
        write(source, events)
        write(sorted_source, sorted(events))
        speeds = []
        for title, data, judged in (("a tenth late", source, events), ("in order", sorted_source, sorted(events))):
            words = [arguments.weir, "replay", "--topology", topology, "--input", data, "--json"]
            summary = Run([*words, "--features", rows, "--threads", 2]).json
            if summary["events"] != len(events) or summary["dead_letters"] or summary["late"]:
                wrong(f"of {len(events)} events: {summary}")
            check(rows, judged)
            speeds.append(max(Run([*words, "--threads", 1]).json["events_per_second"] for _ in range(3)))
            figure(f"stragglers, one key, {title}", f"{speeds[-1]:,}", "events/s", shown([*words, "--threads", 1], topology, data))
        note(f"best of 3; every count and a sample of all windows as defined; late costs {speeds[1] / speeds[0]:.1f} times as much as in order")


main()
