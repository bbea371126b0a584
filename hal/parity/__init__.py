"""Are boards the same on every back end? One scenario flown on each, compared byte for byte."""
