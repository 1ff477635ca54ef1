"""``antifragile study``: run, extend, look at and export studies."""
