//! The bus engine.
