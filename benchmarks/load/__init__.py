"""Load: the messages, their times, and the client process that sends them."""
