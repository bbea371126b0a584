"""One back end a file; they know nothing of each other. Each has ``open_link(url, board) -> Link``."""
