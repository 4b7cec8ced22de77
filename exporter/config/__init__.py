"""From environment variables, secret files and YAML to one frozen `Config`."""
