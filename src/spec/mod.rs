//! YAML specifications: raw, checked, and expanded into runs.
