"""`python -m tests.bench.collectd --libvirt.uri=URI --web.listen-address=HOST:PORT`: collectd's
plugin `virt` on a host, for Prometheus (`write_prometheus`), in the place of this process.
"""

from __future__ import annotations

import argparse
import os
from typing import Final

PROGRAM: Final = "collectd"
"""Debian: collectd-core, and libmicrohttpd12 and libprotobuf-c1 for `write_prometheus`."""
INTERVAL: Final = 15
"""Seconds between two readings of collectd's own."""

_CONFIGURATION: Final = """\
BaseDir "/tmp"
TypesDB "/usr/share/collectd/types.db"
Interval {interval}
LoadPlugin virt
LoadPlugin write_prometheus
<Plugin virt>
  Connection "{uri}"
  RefreshInterval 60
  HostnameFormat uuid
  ExtraStats "cpu_util disk disk_err domain_state job_stats_background perf vcpu memory"
</Plugin>
<Plugin write_prometheus>
  Host "{host}"
  Port "{port}"
</Plugin>
"""


def main() -> None:
    """Write the configuration, and become collectd."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.collectd", description=__doc__)
    parser.add_argument("--libvirt.uri", dest="uri", required=True)
    parser.add_argument("--web.listen-address", dest="address", required=True)
    arguments = parser.parse_args()
    host, _, port = arguments.address.rpartition(":")
    file = os.memfd_create("collectd.conf", 0)  # which ends with the process
    text = _CONFIGURATION.format(interval=INTERVAL, uri=arguments.uri, host=host, port=port)
    os.write(file, text.encode())
    os.execvp(PROGRAM, [PROGRAM, "-f", "-C", f"/proc/self/fd/{file}"])


if __name__ == "__main__":
    main()
