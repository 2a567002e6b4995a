"""The local DigitalOcean API v2.

Read in this order: ``tables`` (what is kept), ``services/vpcs`` (one service; the others have its layout),
``desired`` (tables to ``lab.world.World``), ``reconciler`` (the world made true), ``app`` (put together).
"""
