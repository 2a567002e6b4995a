"""The product's own verification: each test here is a control, one setting that must hold on a droplet."""
