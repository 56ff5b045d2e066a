//! Provider definitions and the pure engine that reads them
