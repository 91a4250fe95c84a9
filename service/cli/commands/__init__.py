"""The commands of `zoo`, one file a command or group."""
