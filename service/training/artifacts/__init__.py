"""The artifacts of a job: the version folder, its card, the report and tracked metrics."""
