"""The benchmark of tools/bench: what is measured, how it is kept, how it is shown.

`rows` are the tunnels and `sections` the measurements; `run` lets every row pass every
section, round after round. A `results.Report` comes of it, which `columns` gives a
meaning, `text` and `plot` a shape.
"""
