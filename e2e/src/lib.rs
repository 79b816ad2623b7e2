//! End-to-end tests on real containers; the scenarios are in `tests/e2e`, a program
//! that they run in containers is in `src/bin`.
