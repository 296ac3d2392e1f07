"""How much the properties try: a little at each test run, a lot where ULTRAMARKET_TEST_PROPERTIES=long says so."""

import os

from hypothesis import HealthCheck, settings

SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]

settings.register_profile("short", deadline=None, max_examples=200, stateful_step_count=40, suppress_health_check=SLOW)
settings.register_profile("long", deadline=None, max_examples=3000, stateful_step_count=80, suppress_health_check=SLOW)
settings.load_profile(os.environ.get("ULTRAMARKET_TEST_PROPERTIES", "short"))
