"""Recording a flight's inputs and outputs, and flying them again: the same bytes, or the first difference by name.

Stands apart from what flies, as `flight.testing` does: it puts itself around the four things that a flight computer
hears of the world by (port, radio, storage and pacing), and nothing on board knows of it. docs/replay.md explains it.
"""
