"""Parts of pictures as targets: boxes and masks."""
