#!/usr/bin/env python3
"""Prints the table of text-hashes.txt: key, text, SipHash-1-3; all hexadecimal.

CPython 3.11 and later hash bytes by SipHash-1-3, under a key that PYTHONHASHSEED decides; what this peer computes is held against that.
"""
import os
import subprocess
import sys

MASK = (1 << 64) - 1


def siphash13(low, high, text):
    def rotate(word, bits):
        return (word << bits | word >> (64 - bits)) & MASK

    v0, v1, v2, v3 = low ^ 0x736F6D6570736575, high ^ 0x646F72616E646F6D, low ^ 0x6C7967656E657261, high ^ 0x7465646279746573

    def round():
        nonlocal v0, v1, v2, v3
        v0 = (v0 + v1) & MASK
        v2 = (v2 + v3) & MASK
        v1 = rotate(v1, 13) ^ v0
        v3 = rotate(v3, 16) ^ v2
        v0 = rotate(v0, 32)
        v2 = (v2 + v1) & MASK
        v0 = (v0 + v3) & MASK
        v1 = rotate(v1, 17) ^ v2
        v3 = rotate(v3, 21) ^ v0
        v2 = rotate(v2, 32)

    whole = len(text) // 8 * 8
    words = [int.from_bytes(text[at:at + 8], "little") for at in range(0, whole, 8)]
    words.append(int.from_bytes(text[whole:], "little") | (len(text) & 0xFF) << 56)
    for word in words:
        v3 ^= word
        round()
        v0 ^= word
    v2 ^= 0xFF
    for _ in range(3):
        round()
    return v0 ^ v1 ^ v2 ^ v3


def key_of_seed(seed):
    """CPython's lcg_urandom; the key is its first 16 bytes."""
    if seed == 0:
        return 0, 0
    state, out = seed, []
    for _ in range(16):
        state = (state * 214013 + 2531011) & 0xFFFFFFFF
        out.append(state >> 16 & 0xFF)
    return int.from_bytes(bytes(out[:8]), "little"), int.from_bytes(bytes(out[8:]), "little")


TEXTS = [bytes(range(n)) for n in range(26)] + [
    b"a", b"user-1", b"acc-1000001", b"203.0.113.7", "zähler".encode(), b"550e8400-e29b-41d4-a716-446655440000", b"x" * 255, b"y" * 256, b"z" * 1000,
]

if __name__ == "__main__":
    if sys.argv[1:] == ["peer"]:
        print("\n".join(str(hash(text)) for text in TEXTS))
        sys.exit()
    assert sys.hash_info.algorithm == "siphash13", "needs CPython 3.11 or later"
    for seed in (0, 1, 42, 4294967295):
        low, high = key_of_seed(seed)
        environment = dict(os.environ, PYTHONHASHSEED=str(seed))
        peer = subprocess.run([sys.executable, __file__, "peer"], env=environment, capture_output=True, text=True, check=True).stdout.split()
        for text, theirs in zip(TEXTS, peer):
            ours = siphash13(low, high, text)
            # CPython's hash of nothing is 0, whatever the key.
            assert text == b"" or ours == int(theirs) & MASK, (seed, text)
            print(f"{low:016x} {high:016x} {text.hex() or '-'} {ours:016x}")
