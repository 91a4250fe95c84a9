"""Images and sounds in archives and folders."""
