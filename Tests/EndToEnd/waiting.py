"""The one place in the end-to-end tests that lets time pass.

A test waits for a condition, never for a time that is long enough today: the limit is there for a fault, and a machine ten times slower
still keeps it. A time of its own belongs only to chance (when a process is killed), to a fault that lasts, and to a pace.
"""
import time

# Seconds after which a wait, or a process, is given up.
LIMIT = 1800


def until(condition, seconds=LIMIT, every=0.1):
    """Asks until the condition returns something true, and returns it; what it returned last when the time is over."""
    end = time.monotonic() + seconds
    while True:
        found = condition()
        if found or time.monotonic() > end:
            return found
        time.sleep(every)


def moment(chance, least, most):
    """Waits for a moment of chance, such as that of a kill: a seeded generator names it."""
    time.sleep(least + chance.random() * (most - least))


def pace(seconds):
    """Waits between two steps of somebody who keeps a pace."""
    time.sleep(seconds)
