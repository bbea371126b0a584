"""What every test of the suite shares: the flight fixtures, the hypothesis profiles, and what CI demands of skips."""

import importlib.util
import os
import signal

import pytest
from hypothesis import HealthCheck, settings

if importlib.util.find_spec("flight.testing"):
    pytest_plugins = ["flight.testing"]

# A shell starts its background jobs with SIGINT ignored, and what a test starts would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# No deadlines: how long an example takes is the machine's business. `ci` searches the same space further.
settings.register_profile("fast", deadline=None, max_examples=50)
settings.register_profile("ci", deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow])
CI = os.environ.get("CI") == "true"
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci" if CI else "fast"))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """With CI=true a skip is a failure: there, what a test needs must be installed."""
    outcome = yield
    report = outcome.get_result()
    if CI and report.skipped and not hasattr(report, "wasxfail"):
        where = report.longrepr
        reason = where[2] if isinstance(where, tuple) else str(where)
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid}: skipped, and with CI=true nothing may be: {reason}"
