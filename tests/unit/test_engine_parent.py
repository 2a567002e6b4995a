"""A provider whose engine was killed creates nothing more."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys

PLUGIN = """
import os, sys, time
from lab.engine.parent import end_with_parent
end_with_parent()
print(os.getpid(), flush=True)
time.sleep(60)
"""
ENGINE = f"""
import subprocess, sys
subprocess.Popen([sys.executable, "-c", {PLUGIN!r}], start_new_session=True).wait()
"""


def test_a_killed_engine_takes_its_plugins_along():
    engine = subprocess.Popen([sys.executable, "-c", ENGINE], stdout=subprocess.PIPE, text=True)
    assert engine.stdout
    plugin = os.pidfd_open(int(engine.stdout.readline()))
    engine.send_signal(signal.SIGKILL)
    engine.wait()
    poll = select.poll()
    poll.register(plugin, select.POLLIN)
    assert poll.poll(5000), "the plugin outlived its engine by five seconds"
