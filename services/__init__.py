"""The servers: one folder a service, and the chassis they all stand on (`services.runtime`)."""
