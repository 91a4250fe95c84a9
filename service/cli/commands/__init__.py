"""The commands of `zoo`: one file for a command, or for a group of related commands."""
