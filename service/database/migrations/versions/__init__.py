"""One file per change, in the order of their numbers. A released file is never edited."""
