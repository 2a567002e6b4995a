"""DigitalOcean's data source for the lab's droplets.

The distribution's one asks DMI whether this is a droplet, which a container cannot answer, and gives eth0 a
link-local address to reach the metadata service before any network is configured, which the lab's routers do
not let through. Here the metadata service itself answers the first, and the network is up when this runs, so
it only has to wait for that. All else is the original.
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


class NotYet(sources.DataSource):
    """Before there is a network: found here, so that the distribution's data source is not looked for."""

    dsname = "DigitalOcean"

    def _get_data(self):
        return False


def get_datasource_list(depends):
    return sources.list_from_depends(
        depends,
        [
            (NotYet, (sources.DEP_FILESYSTEM,)),
            (DataSourceDigitalOcean, (sources.DEP_FILESYSTEM, sources.DEP_NETWORK)),
        ],
    )
