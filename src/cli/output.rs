//! A file that a command writes: checked before the work begins, and never seen half.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use lapidary::paths::check_no_device;
use lapidary::{Error, Result};

/// The system follows no more links than that either.
const MOST_LINKS: usize = 40;

/// How often a rename that another process stands in the way of is tried again on Windows, and after which pause.
const RENAMES: usize = 20;
const PAUSE: Duration = Duration::from_millis(100);

/// A place that can be written to.
pub(super) struct Output {
    /// What the user wrote.
    named: PathBuf,
    /// The regular file that this means: links are followed, so that they stay links.
    target: PathBuf,
    /// Where the file is written before it takes its name.
    part: PathBuf,
    /// Those of the file that is replaced.
    permissions: Option<Permissions>,
}

impl Output {
    /// Checks that a file can be made or replaced there. A folder, a device or a pipe is not replaced.
    ///
    /// # Errors
    /// [`Error::Usage`] that says what stands in the way.
    pub(super) fn new(path: &Path) -> Result<Self> {
        let fault = |what: String| Error::usage(format!("--output {}: {what}", path.display()));
        check_no_device(path).map_err(|error| fault(error.to_string()))?;
        let permissions = match fs::metadata(path) {
            Ok(found) if found.is_dir() => return Err(fault("found a directory, expected a file".into())),
            Ok(found) if !found.is_file() => {
                return Err(fault("found a device, pipe or socket, expected a regular file or a new name".into()));
            }
            Ok(found) => Some(found.permissions()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(fault(error.to_string())),
        };
        let target = follow(path);
        let Some(name) = target.file_name() else { return Err(fault("expected the name of a file".into())) };
        let mut beside = std::ffi::OsString::from(".");
        beside.push(name);
        beside.push(format!(".{}.part", std::process::id()));
        let part = target.with_file_name(beside);
        if permissions.is_some() {
            // A rename would replace a file that is write-protected.
            OpenOptions::new().write(true).open(&target).map_err(|error| fault(error.to_string()))?;
        }
        let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let tried = File::create(&part).map(drop).and_then(|()| fs::remove_file(&part));
        tried.map_err(|error| fault(format!("no file can be made in {}: {error}", folder.display())))?;
        Ok(Output { named: path.to_owned(), target, part, permissions })
    }

    /// Writes the file.
    ///
    /// # Errors
    /// [`Error::Io`] with what the system says; what was there before stays.
    pub(super) fn write(&self, bytes: &[u8]) -> Result<()> {
        let done = self.replace(bytes);
        if done.is_err() {
            fs::remove_file(&self.part).ok(); // Perhaps it was never made.
        }
        done.map_err(|error| Error::io(format!("--output {}", self.named.display()), error))
    }

    fn replace(&self, bytes: &[u8]) -> io::Result<()> {
        fs::write(&self.part, bytes)?;
        if let Some(permissions) = &self.permissions {
            fs::set_permissions(&self.part, permissions.clone())?;
        }
        rename(&self.part, &self.target)
    }
}

/// Renames a file that was just written. Windows' virus scanners have such files open for a moment, and what was computed is
/// not to be lost for that.
fn rename(from: &Path, to: &Path) -> io::Result<()> {
    let tries = if cfg!(windows) { RENAMES } else { 0 };
    for _ in 0..tries {
        match fs::rename(from, to) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied || is_sharing_violation(&error) => {}
            done => return done,
        }
        thread::sleep(PAUSE);
    }
    fs::rename(from, to)
}

/// Windows' error for a file that another process has open; it has no kind of its own.
fn is_sharing_violation(error: &io::Error) -> bool {
    const SHARING_VIOLATION: i32 = 32;
    error.raw_os_error() == Some(SHARING_VIOLATION)
}

/// Where a path's last part leads if it is a link, also one that leads to nothing yet.
fn follow(path: &Path) -> PathBuf {
    let mut target = path.to_owned();
    for _ in 0..MOST_LINKS {
        let Ok(link) = fs::read_link(&target) else { break };
        target = target.parent().unwrap_or(Path::new("")).join(link);
    }
    target
}
