//! The one error type. Every message names the thing, what was found and what was expected.

use std::fmt;
use std::path::PathBuf;

/// What went wrong. The variants are the classes that a caller treats differently; [`Error::exit_code`] is what the
/// `lapidary` binary ends with.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request itself cannot be met: an option out of range, a prompt longer than the context.
    #[error("{0}")]
    Usage(String),
    /// The checkpoint's files are missing, damaged or contradict each other. All faults that were found, not the first.
    #[error("{0}")]
    Model(Faults),
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// No usable adapter, a missing feature or a limit that is too small.
    #[error("{0}")]
    Device(String),
    /// The device has no room for what was asked.
    #[error("{0}")]
    Memory(String),
    /// Something failed while the model ran: a wait that took too long.
    #[error("{0}")]
    Run(String),
    /// A result is NaN or infinite.
    #[error("{0}")]
    NotFinite(String),
    /// The device is gone: a driver's reset, a card that was pulled. Nothing on it can be used any more.
    #[error("the device was lost: {0}")]
    DeviceLost(String),
}

/// A `Result` with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

/// Faults of a checkpoint, each one a whole sentence that names the tensor or file.
#[derive(Debug, Default, Clone)]
pub struct Faults {
    list: Vec<String>,
}

/// At most this many faults are printed; the rest is counted.
const SHOWN: usize = 20;

impl Faults {
    /// Adds one fault.
    pub fn push(&mut self, fault: impl Into<String>) {
        self.list.push(fault.into());
    }

    /// All faults, in the order in which they were found.
    pub fn list(&self) -> &[String] {
        &self.list
    }

    /// `Ok(value)` where nothing was found, else all faults as one error.
    ///
    /// # Errors
    /// [`Error::Model`] if there is any fault.
    pub fn into_result<T>(self, value: T) -> Result<T> {
        if self.list.is_empty() { Ok(value) } else { Err(Error::Model(self)) }
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.list.as_slice() {
            [one] => f.write_str(one),
            list => {
                write!(f, "{} faults:", list.len())?;
                for fault in list.iter().take(SHOWN) {
                    write!(f, "\n  {fault}")?;
                }
                match list.len().saturating_sub(SHOWN) {
                    0 => Ok(()),
                    rest => write!(f, "\n  and {rest} more"),
                }
            }
        }
    }
}

impl Error {
    /// A single fault of the checkpoint.
    pub fn model(fault: impl Into<String>) -> Self {
        let mut faults = Faults::default();
        faults.push(fault);
        Error::Model(faults)
    }

    /// A failed read or write of `path`.
    pub fn io(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Error::Io { path: path.into(), source }
    }

    /// The exit code of the `lapidary` binary: 2 usage, 3 model files, 4 device or memory, 5 run time.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Usage(_) => 2,
            Error::Model(_) | Error::Io { .. } => 3,
            Error::Device(_) | Error::Memory(_) => 4,
            Error::Run(_) | Error::NotFinite(_) | Error::DeviceLost(_) => 5,
        }
    }
}
