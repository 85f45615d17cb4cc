//! chronik's native engine.
