"""Readers of texts with labelled spans: words with tags (CoNLL), and places of characters (JSONL)."""
