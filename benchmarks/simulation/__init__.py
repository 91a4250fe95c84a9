"""A device in virtual time: profiles, arrivals, contenders, an engine that runs them, and a report. See docs/simulation.md."""
