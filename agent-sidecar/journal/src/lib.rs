//! The journal of one machine: every call of every session, durable, in order, chained.
