"""Every number that the README claims, measured by `make bench`.

A benchmark is a module of this package with `measure(quick: bool) -> list[Row]` and a docstring whose first line says
what is measured. `quick` asks for the shortest run that still passes through all of it (the suite runs it so);
published numbers come from the full run. A comparison with another package is a ratio measured in one run.
"""
