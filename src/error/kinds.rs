//! The one error type.

use std::fmt;
use std::path::PathBuf;

use super::device::{Failure, Lost, NotFinite, Unfit};
use super::fault::{Fault, UNSUPPORTED};
use super::faults::Faults;
use super::memory::NoRoom;
use super::remedy::{Remedy, Speller, plain};
use super::usage::Usage;

/// What went wrong. The variants are the classes that a caller treats differently, and what they hold says more;
/// [`Error::code`] is short and stable, [`Error::exit_code`] is what the `lapidary` binary ends with. Every message names the
/// thing, what was found and what was expected.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The request itself cannot be met: an option out of range, a prompt longer than the context.
    Usage(Usage),
    /// The model's files are missing, damaged, contradict each other, or are of a model that nothing here computes. All faults
    /// that were found, not the first.
    Model(Faults),
    /// A file could not be read or written.
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// No usable adapter, a missing feature or a limit that is too small.
    Device(Unfit),
    /// The device has no room for what was asked.
    Memory(Box<NoRoom>),
    /// Something failed while the model ran: a wait that took too long.
    Run(Failure),
    /// A result is NaN or infinite.
    NotFinite(NotFinite),
    /// The device is gone: a driver's reset, a card that was pulled. Nothing on it can be used any more.
    DeviceLost(Lost),
}

/// A `Result` with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A request that a program cannot meet, in the program's own words.
    pub fn usage(message: impl Into<String>) -> Self {
        Error::Usage(Usage::Argument(message.into()))
    }

    /// No vector or matrix of this name.
    pub(crate) fn no_tensor(what: &'static str, name: &str) -> Self {
        Error::Usage(Usage::Tensor { what, name: name.to_owned() })
    }

    /// Ok where `is_right`; else `what` of the tensor, matrix or product `name` is `found`, and not as `expected`.
    pub(crate) fn check_shape(
        name: &str,
        what: &'static str,
        is_right: bool,
        found: &dyn fmt::Display,
        expected: &dyn fmt::Display,
    ) -> Result<()> {
        if is_right {
            return Ok(());
        }
        let (found, expected) = (found.to_string(), expected.to_string());
        Err(Error::Usage(Usage::Shape { name: name.to_owned(), what, found, expected }))
    }

    /// A failed read or write of `path`.
    pub fn io(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Error::Io { path: path.into(), source }
    }

    /// Something that failed while the model ran and that no other kind is for.
    pub fn run(message: impl Into<String>) -> Self {
        Error::Run(Failure::Other(message.into()))
    }

    /// What kind of error this is, in a word that stays: `docs/errors.md` lists them all.
    pub fn code(&self) -> &'static str {
        match self {
            Error::Usage(usage) => usage.code(),
            Error::Model(faults) if faults.are_unsupported() => UNSUPPORTED,
            Error::Model(_) => "E-MODEL",
            Error::Io { .. } => "E-IO",
            Error::Device(unfit) => unfit.code(),
            Error::Memory(no_room) => no_room.code(),
            Error::Run(failure) => failure.code(),
            Error::NotFinite(found) => found.code(),
            Error::DeviceLost(_) => "E-DEVICE-LOST",
        }
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

    /// What would help, as far as that is known. The message says which of them are alternatives.
    pub fn remedies(&self) -> Vec<Remedy> {
        match self {
            Error::Usage(usage) => usage.remedies(),
            Error::Model(faults) => faults.remedies(),
            Error::Memory(no_room) => no_room.remedies().to_vec(),
            Error::Run(failure) => failure.remedies().to_vec(),
            Error::Device(unfit) => unfit.remedies().to_vec(),
            Error::DeviceLost(lost) => lost.remedies().to_vec(),
            Error::Io { .. } | Error::NotFinite(_) => Vec::new(),
        }
    }

    /// The message with remedies in the words of `spell`, which is given those that are meant together. [`fmt::Display`] has
    /// words of its own for them.
    pub fn message(&self, spell: &Speller) -> String {
        match self {
            Error::Usage(usage) => usage.message(spell),
            Error::Model(faults) => faults.message(spell),
            Error::Io { path, source } => format!("{}: {source}", path.display()),
            Error::Device(unfit) => unfit.message(spell),
            Error::Memory(no_room) => no_room.message(spell),
            Error::Run(failure) => failure.message(spell),
            Error::NotFinite(found) => found.to_string(),
            Error::DeviceLost(lost) => lost.message(spell),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message(&plain))
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        if let Error::Io { source, .. } = self { Some(source) } else { None }
    }
}

impl Faults {
    /// `Ok(value)` where nothing was found, else all faults as one error.
    ///
    /// # Errors
    /// [`Error::Model`] if there is any fault.
    pub fn into_result<T>(self, value: T) -> Result<T> {
        if self.is_empty() { Ok(value) } else { Err(Error::Model(self)) }
    }
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Error::Model(fault.into())
    }
}

impl From<Box<Fault>> for Error {
    fn from(fault: Box<Fault>) -> Self {
        (*fault).into()
    }
}

impl From<Usage> for Error {
    fn from(usage: Usage) -> Self {
        Error::Usage(usage)
    }
}

impl From<Unfit> for Error {
    fn from(unfit: Unfit) -> Self {
        Error::Device(unfit)
    }
}

impl From<NoRoom> for Error {
    fn from(no_room: NoRoom) -> Self {
        Error::Memory(Box::new(no_room))
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Error::Run(failure)
    }
}

impl From<NotFinite> for Error {
    fn from(found: NotFinite) -> Self {
        Error::NotFinite(found)
    }
}

impl From<Lost> for Error {
    fn from(lost: Lost) -> Self {
        Error::DeviceLost(lost)
    }
}
