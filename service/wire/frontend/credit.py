"""Bounds the memory of requests that are being read or answered. Belongs to the frontend's thread.

The core tells the size of a message only once it has been read. Until then a request is charged with the size that recent
messages had. Of requests whose message has not arrived, only so many are read at once; the others wait unread, where flow
control keeps their messages at the clients.
"""

from __future__ import annotations

FIRST_GUESS = 1 << 20
"""Bytes that a request is charged with before any message was read."""
SMALLEST_CHARGE = 16 * 1024
"""Bytes. A request holds its call and its arrays as well, and the transport holds a window of its stream."""
DECAY = 0.98
"""Of the guess, at each message that is smaller than it."""
FLOOD_BYTES = 128 * 1024 * 1024
"""Of messages held at once, whose memory is worth returning to the operating system afterwards."""
MAX_READING = 256
"""Requests whose messages are read at once."""


class ReadCredit:
    """Counts bytes of requests, each from the start of its read to its last event."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.reading = 0
        """Requests whose messages are being read."""
        self.reading_bytes = 0
        """Their charges."""
        self.held_bytes = 0
        """Of messages that have arrived and are not answered."""
        self._peak_bytes = 0  # of held_bytes since the last relief
        self._guess = float(FIRST_GUESS)

    @property
    def exhausted(self) -> bool:
        """Whether the messages that have arrived leave no room for another. Without any, one of any size may be read."""
        return self.held_bytes > 0 and self.held_bytes + self._charge() > self.limit_bytes

    @property
    def busy(self) -> bool:
        """Whether as many messages are being read as may be."""
        if self.reading >= MAX_READING:
            return True
        return self.reading > 0 and self.held_bytes + self.reading_bytes + self._charge() > self.limit_bytes

    def begin(self) -> int:
        """A read begins; gives the charge, which the caller keeps."""
        self.reading += 1
        charge = self._charge()
        self.reading_bytes += charge
        return charge

    def arrived(self, charge: int, size: int) -> int:
        """The message arrived; gives the charge that takes the place of the first one."""
        self.reading -= 1
        self.reading_bytes -= charge
        self._guess = max(float(size), self._guess * DECAY)
        actual = max(size, SMALLEST_CHARGE)
        self.hold(actual)
        return actual

    def hold(self, size: int) -> None:
        """Charges a message of a stream, which nobody announced."""
        self.held_bytes += size
        self._peak_bytes = max(self._peak_bytes, self.held_bytes)

    def release(self, charge: int) -> None:
        """The request is over."""
        self.held_bytes -= charge

    def relieved(self) -> bool:
        """Whether a flood is over: much was held, and nearly all of it was released. Says so once."""
        if self._peak_bytes < FLOOD_BYTES or self.held_bytes > self._peak_bytes // 8:
            return False
        self._peak_bytes = self.held_bytes
        return True

    def _charge(self) -> int:
        # At most half of the limit, or one message of nearly that size would have the small ones after it refused.
        return max(min(int(self._guess), self.limit_bytes // 2), SMALLEST_CHARGE)
