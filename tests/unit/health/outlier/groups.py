"""A detector and its siblings, for tests that tell them what happened."""

from random import Random

from lbkit.core.outcome import OK, Outcome, Result
from lbkit.health.outlier import OutlierDetection, OutlierDetector, Sibling

ERROR = Outcome(Result.ERROR, cause="500")
GATEWAY = Outcome(Result.ERROR, cause="503", gateway=True)
UNREACHABLE = Outcome(Result.UNREACHABLE, cause="ConnectError")
NO_ANSWER = Outcome(Result.NO_ANSWER, cause="ReadTimeout")
OVERLOADED = Outcome(Result.OVERLOADED, retry_after_s=1.0, cause="429")
CANCELLED = Outcome(Result.CANCELLED)


def only(**rules):
    """Return a config without jitter that has the given rules alone."""
    rules = {"success_rate": None, "failure_rate": None, "jitter_s": 0.0} | rules
    return OutlierDetection(**rules)


class Group:
    """So many siblings of one detector; time is what it is told."""

    def __init__(self, config, count, *, seed=1):
        self.now = 0.0
        self.detector = OutlierDetector(config, Random(seed))
        self.all = [Sibling(f"s{number}") for number in range(count)]
        self.detector.join(self.all, self.now)

    def tell(self, number, outcome=OK, times=1, *, started=None, took_s=0.0):
        for _ in range(times):
            began = self.now if started is None else started
            self.detector.record(self.all[number], outcome, started=began, now=self.now, took_s=took_s)

    def rates(self, *percents, outcome=ERROR):
        """Give the siblings a hundred calls each, of which so many are good, evenly; then let the interval end."""
        for number, percent in enumerate(percents):
            for call in range(100):
                good = (call + 1) * percent // 100 > call * percent // 100
                self.tell(number, OK if good else outcome)
        self.end()

    def end(self):
        self.wait(self.detector.config.interval_s)

    def wait(self, seconds):
        self.now += seconds
        self.detector.advance(self.now)

    @property
    def out(self):
        return sorted(self.all.index(sibling) for sibling in self.detector.ejected)

    def tally(self, detector):
        """Return how many were detected, ejected and over the limit."""
        found = self.detector.tallies[detector]
        return found.detected, found.ejected, found.over_limit
