"""Notes as a Standard MIDI File of format 0 (MIDI 1.0 Detailed Specification): one track, one piano, 120 beats a minute."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from service.types import NoteEvent

TICKS_PER_BEAT = 480
TICKS_PER_SECOND = 2 * TICKS_PER_BEAT
_BEAT_US = 500_000
_PIANO = 0
_OFF, _ON = 0x80, 0x90


def midi_file(events: Iterable[NoteEvent]) -> bytes:
    """The content of the file. A note that ends where another one of its pitch begins ends first."""
    moments: list[tuple[int, int, int, int]] = []
    for one in events:
        start = round(one.start_s * TICKS_PER_SECOND)
        end = max(start + 1, round(one.end_s * TICKS_PER_SECOND))
        moments += [(start, _ON, one.pitch, one.velocity), (end, _OFF, one.pitch, 0)]
    track = bytearray(b"\x00\xff\x51\x03" + _BEAT_US.to_bytes(3, "big") + bytes([0, 0xC0, _PIANO]))
    before = 0
    for tick, kind, pitch, velocity in sorted(moments):
        track += _variable(tick - before) + bytes([kind, pitch, velocity])
        before = tick
    track += b"\x00\xff\x2f\x00"  # the end of the track
    return struct.pack(">4sIHHH4sI", b"MThd", 6, 0, 1, TICKS_PER_BEAT, b"MTrk", len(track)) + track


def _variable(number: int) -> bytes:
    """A number in groups of seven bits, the highest first; all but the last have their eighth bit set."""
    groups = [number & 0x7F]
    while number := number >> 7:
        groups.append(number & 0x7F | 0x80)
    return bytes(reversed(groups))
