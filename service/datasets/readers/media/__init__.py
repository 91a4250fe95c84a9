"""Pictures and sounds in archives and folders."""
