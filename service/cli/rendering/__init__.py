"""Tables, progress views and sentences that the commands print."""
