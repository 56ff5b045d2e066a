//! The words of Tidegate as types
