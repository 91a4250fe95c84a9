"""Cards: one YAML file for each model of the catalog, and their typed form."""
