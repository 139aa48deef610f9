//! The links between programs on different machines: who may speak to whom, proven by certificates.
