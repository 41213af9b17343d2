"""The study: what trains, measures and records, to be run as `python -m labml_ws.experiment`."""
