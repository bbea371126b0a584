"""The yardstick: how much of the compute that physics allows the loop delivers, case by case (docs/optimum.md)."""
