"""Notes become a Standard MIDI File."""

from service.client import NoteEvent
from service.client.outputs.midi import midi_file

HEADER = b"MThd\0\0\0\6\0\0\0\1\x01\xe0MTrk"
BEGIN = b"\0\xff\x51\3\x07\xa1\x20\0\xc0\0"
END = b"\0\xff\x2f\0"


def track_of(*events: NoteEvent) -> bytes:
    content = midi_file(events)
    assert content.startswith(HEADER)
    track = content[len(HEADER) + 4 :]
    assert int.from_bytes(content[len(HEADER) : len(HEADER) + 4], "big") == len(track)
    assert track.startswith(BEGIN)
    assert track.endswith(END)
    return track[len(BEGIN) : -len(END)]


def test_note_begins_and_ends_after_its_ticks() -> None:
    # 960 ticks a second: 0x83 0x60 is 480, 0x87 0x40 is 960.
    track = track_of(NoteEvent(0.5, 1.5, 69, "A4", 0.75, 95))
    assert track == b"\x83\x60\x90\x45\x5f" + b"\x87\x40\x80\x45\0"


def test_notes_of_one_pitch_that_meet_do_not_silence_each_other() -> None:
    track = track_of(NoteEvent(0.0, 0.5, 60, "C4", 0.5, 64), NoteEvent(0.5, 0.5, 60, "C4", 0.5, 64))
    assert track == b"\0\x90\x3c\x40" + b"\x83\x60\x80\x3c\0" + b"\0\x90\x3c\x40" + b"\1\x80\x3c\0"


def test_no_notes_are_an_empty_track() -> None:
    assert track_of() == b""
