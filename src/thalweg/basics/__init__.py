"""What every room may use: checks, numbers with names, versions, the memory of this machine."""
