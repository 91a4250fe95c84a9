"""Uploads: headers, partial uploads, archives, remote files, and the validator's process."""
