"""What a job leaves: the version folder, its card, the report and tracked metrics."""
