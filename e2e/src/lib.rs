//! End-to-end tests on real containers; everything is in `tests/e2e`.
