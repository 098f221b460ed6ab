"""How far the reading of data is, on a terminal and elsewhere."""

import logging
import time

from tqdm import tqdm

logger = logging.getLogger("hslm_tf")

PATIENCE_SECONDS = 5.0


class ProgressBar(tqdm):
    """A bar on a terminal; elsewhere a line of log each time that twice as long has passed."""

    def __init__(
        self, total: int, unit: str, desc: str = "", initial: int = 0, shown: bool = True
    ) -> None:
        hidden = None if shown else True
        super().__init__(total=total, unit=f" {unit}", desc=desc, initial=initial, disable=hidden)
        self._unit, self._logged = unit, self.disable and shown
        self._began = time.monotonic()
        self._due = self._began + PATIENCE_SECONDS
        self.set_description(desc)

    def update(self, n: float = 1) -> bool | None:
        """Counts what is done."""
        if not self._logged:
            return super().update(n)
        self.n += n
        if (now := time.monotonic()) >= self._due:
            logger.info(f"{self.desc}{self.n:,} of {self.total:,} {self._unit}")
            self._due = now + (now - self._began)
        return None
