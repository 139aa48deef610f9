//! One adapter per kind of agent: its JSON in, an [`Event`](crate::call::Event) out; an answer in, exactly the output that this
//! agent obeys out. Nothing but the adapter knows an agent's format (D3).

pub(crate) mod claude;

/// What the hook is to print, and how it is to exit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Output {
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    pub exit: u8,
}
