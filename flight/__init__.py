"""The flight computer: everything on board that is not a board. `flight.cli` and `flight.testing` stand apart."""
