//! Tables, figures and exports from finished runs.
