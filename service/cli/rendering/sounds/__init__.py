"""What was heard in a sound, as a picture."""
