//! Content-addressed results on a plain folder.
