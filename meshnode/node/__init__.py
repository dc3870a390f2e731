"""The processes: supervisor, control, and how workers are started."""
