"""The lab's packets: regions, VPCs, cloud firewalls, load balancers, and the little that leads outward."""
