"""DigitalOcean's data source for a droplet that is a container.

The distribution's one asks DMI whether this is a droplet, and gives eth0 a link-local address to reach the
metadata service before any network is configured. Here the metadata service itself answers the first, and
the network is up when this runs, so it only has to wait for that. All else is the original.
"""

from cloudinit import sources
from cloudinit.sources import DataSourceDigitalOcean as original


class DataSourceDigitalOcean(original.DataSourceDigitalOcean):
    def __init__(self, sys_cfg, distro, paths):
        super().__init__(sys_cfg, distro, paths)
        self.use_ip4LL = False

    # The original makes one from the metadata; here systemd-networkd has its addresses already.
    network_config = None

    def _get_sysinfo(self):
        return True, None


def get_datasource_list(depends):
    return sources.list_from_depends(
        depends, [(DataSourceDigitalOcean, (sources.DEP_FILESYSTEM, sources.DEP_NETWORK))]
    )
