"""cloud-init looks here first for the data sources its configuration names."""
