"""From the results of a run to statistics, tables and plots."""
