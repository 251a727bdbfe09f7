"""What people see in a terminal, a notebook or a log: progress, the table at the end, streams."""

from thalweg.display.printing import Lenient, lenient_streams, table
from thalweg.display.watched import Display, display_of, progress

__all__ = ["Display", "Lenient", "display_of", "lenient_streams", "progress", "table"]
