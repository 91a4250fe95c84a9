"""Data on their way in: headers, parts, archives, remote files, and the validator's process."""
