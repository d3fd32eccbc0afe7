"""The trainer: from logged playbacks to model versions."""

import os

# Threads that wait do not spin: on a busy machine spinning makes a training ten times slower. It is
# said here because torch's threads ask once, when it is loaded.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
