"""What every room may use: numbers with names, and the memory of this machine."""
