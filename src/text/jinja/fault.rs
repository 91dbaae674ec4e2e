//! Why a template cannot be parsed or a rendering ends early.

/// The result of everything that templates do.
pub(super) type Run<T> = Result<T, Fault>;

/// What went wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The source is no template.
    Syntax(String),
    /// What the template said in `raise_exception`.
    Refused(String),
    /// What would be an exception in Python: something that the conversation has or lacks.
    Failed(String),
    /// Something that no template may do, or that this implementation does not offer.
    Forbidden(String),
    /// Values or calls are nested too deep.
    Deep(&'static str),
    /// The budget of steps is spent.
    Steps,
    /// The budget of memory is spent.
    Bytes,
    /// The output has more than so many bytes.
    Output(usize),
    /// Nobody waits for this rendering any more.
    GivenUp,
}

impl Fault {
    /// An exception of Python's.
    pub(super) fn failed(text: impl Into<String>) -> Self {
        Fault::Failed(text.into())
    }
}

/// A filter or test that is not there, found where it is used.
pub(super) fn unknown(what: &str, name: &str) -> Fault {
    Fault::Syntax(format!("no {what} named '{name}'"))
}
