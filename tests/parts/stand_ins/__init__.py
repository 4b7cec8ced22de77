"""Stand-ins for images that people have, where no registry is needed."""
