"""Command line: one module per command."""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
"""Before numpy comes: small products are all that a worker makes of them, and threads that wait for the next one by spinning
took the broker's, or another worker's, core."""
