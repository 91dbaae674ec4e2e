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
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Faults {
    list: Vec<String>,
    /// Faults beyond those that are kept.
    more: usize,
}

/// At most this many faults are printed; the rest is counted.
const SHOWN: usize = 20;
/// At most this many faults are kept, of so many characters each: a hostile file can have a million.
const KEPT: usize = 1000;
const FAULT_CHARACTERS: usize = 2000;
/// Where one line for people is cut, whatever it quotes.
pub const LINE_CHARACTERS: usize = 4000;

impl Faults {
    /// Adds one fault, whatever it quotes of a file made harmless.
    pub fn push(&mut self, fault: impl AsRef<str>) {
        if self.list.len() < KEPT {
            self.list.push(harmless(fault.as_ref(), FAULT_CHARACTERS));
        } else {
            self.more += 1;
        }
    }

    /// Adds all faults of `other`.
    pub fn append(&mut self, other: Faults) {
        for fault in other.list {
            self.push(fault);
        }
        self.more += other.more;
    }

    /// The first thousand faults, in the order in which they were found.
    pub fn list(&self) -> &[String] {
        &self.list
    }

    /// How many faults were found.
    pub fn count(&self) -> usize {
        self.list.len() + self.more
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
                write!(f, "{} faults:", self.count())?;
                for fault in list.iter().take(SHOWN) {
                    write!(f, "\n  {fault}")?;
                }
                match self.count().saturating_sub(SHOWN) {
                    0 => Ok(()),
                    rest => write!(f, "\n  and {rest} more"),
                }
            }
        }
    }
}

/// Text out of a file, as a message may quote it: one line without characters that steer a terminal or turn the
/// direction of writing, cut behind `most` characters.
pub fn harmless(text: &str, most: usize) -> String {
    let mut out = String::new();
    for (count, c) in text.chars().enumerate() {
        if count == most {
            out.push('…');
            break;
        }
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if is_steering(c) => out.push_str(&format!("\\u{{{:x}}}", u32::from(c))),
            c => out.push(c),
        }
    }
    out
}

/// Control characters, line and paragraph separators, marks of direction, byte order marks, and tag characters.
fn is_steering(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        || matches!(c, '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

impl Error {
    /// A single fault of the checkpoint.
    pub fn model(fault: impl AsRef<str>) -> Self {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_files_say_steers_no_terminal() {
        assert_eq!(harmless("a\x1b[31m\nb\u{202e}c\u{7}é", 100), "a\\u{1b}[31m\\nb\\u{202e}c\\u{7}é");
        assert_eq!(harmless("abcdef", 3), "abc…");
        assert_eq!(harmless("abc", 3), "abc");
        let mut faults = Faults::default();
        (0..1_000_000).for_each(|i| faults.push(format!("fault \x1b {i}")));
        let text = faults.to_string();
        assert!(
            text.starts_with("1000000 faults:\n  fault \\u{1b} 0\n") && text.ends_with("\n  and 999980 more"),
            "{text}"
        );
        assert_eq!(harmless(&"\n".repeat(1 << 20), 2), "\\n\\n…");
    }
}
