#!/usr/bin/env python3
"""The rules of this folder as a naive program: how often each one fires on a file.

  oracle.py FILE.csv[.gz]            rule,hits as CSV
  oracle.py FILE.csv[.gz] --lines    record,rule as CSV; records count from 1 in the order of the file

Independent of Weir on purpose. Clicks are sorted by click_time, ties in file order; a window
holds the earlier clicks and the click itself, times in (t - w, t].
"""
import collections
import csv
import datetime
import gzip
import sys

HOUR, DAY = 3600, 86_400
RULES = [
    "repeat_device", "ip_burst", "many_apps", "many_models", "same_click",
    "install_at_once", "install_after_burst", "channel_without_installs",
]


class Window:
    """Values of the last `seconds` per key, kept as a list that is cut on the left."""

    def __init__(self, seconds):
        self.seconds = seconds
        self.held = collections.defaultdict(collections.deque)

    def add(self, key, t, value=1):
        self.held[key].append((t, value))

    def values(self, key, t):
        held = self.held[key]
        while held and held[0][0] <= t - self.seconds:
            held.popleft()
        return [v for _, v in held]


def seconds(text):
    return int(datetime.datetime.fromisoformat(text + "+00:00").timestamp())


def fired(path):
    opener = gzip.open if path.endswith(".gz") else open
    with opener(path, "rt", encoding="utf-8", newline="") as f:
        rows = [(seconds(r["click_time"]), n, r) for n, r in enumerate(csv.DictReader(f), 1)]
    rows.sort(key=lambda row: row[:2])
    device, hour, day, apps = Window(HOUR), Window(HOUR), Window(DAY), Window(HOUR)
    models, same, channel, installs = Window(DAY), Window(600), Window(DAY), Window(DAY)
    for t, number, r in rows:
        ip, installed, hits = r["ip"], r["is_attributed"] == "1", []
        keys = {
            "device": (ip, r["device"], r["os"]),
            "model": (ip, r["device"]),
            "same": (ip, r["app"], r["device"], r["os"], r["channel"]),
        }
        device.add(keys["device"], t)
        hour.add(ip, t)
        day.add(ip, t)
        apps.add(ip, t, r["app"])
        models.add(keys["model"], t, r["os"])
        same.add(keys["same"], t)
        channel.add(r["channel"], t)
        if installed:
            installs.add(r["channel"], t)
        clicks = len(day.values(ip, t))
        if len(device.values(keys["device"], t)) >= 5:
            hits.append("repeat_device")
        if len(hour.values(ip, t)) >= 15:
            hits.append("ip_burst")
        if len(set(apps.values(ip, t))) >= 10:
            hits.append("many_apps")
        systems = len(set(models.values(keys["model"], t)))
        if systems >= 16 and clicks <= systems * 3:
            hits.append("many_models")
        if len(same.values(keys["same"], t)) >= 2:
            hits.append("same_click")
        if installed and seconds(r["attributed_time"]) - t <= 10:
            hits.append("install_at_once")
        if installed and clicks >= 50:
            hits.append("install_after_burst")
        if len(channel.values(r["channel"], t)) >= 2000 and not installs.values(r["channel"], t):
            hits.append("channel_without_installs")
        yield number, hits


def main():
    if len(sys.argv) == 3 and sys.argv[2] == "--lines":
        print("record,rule")
        for n, hits in sorted(fired(sys.argv[1])):
            for rule in hits:
                print(f"{n},{rule}")
    elif len(sys.argv) == 2:
        counts = collections.Counter(rule for _, hits in fired(sys.argv[1]) for rule in hits)
        print("rule,hits")
        for rule in RULES:
            print(f"{rule},{counts[rule]}")
    else:
        sys.exit(__doc__)


main()
