//! The policy of a repository: what a session may run and touch, decided from a parsed call. Pure.
