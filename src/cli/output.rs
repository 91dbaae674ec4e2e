//! A file that a command writes: checked before the work begins, and never seen half.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::path::{Path, PathBuf};

use lapidary::{Error, Result};

/// The system follows no more links than that either.
const MOST_LINKS: usize = 40;

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
        let fault = |what: String| Error::Usage(format!("--output {}: {what}", path.display()));
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
        let tried = File::create(&part).and_then(|_| fs::remove_file(&part));
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
        fs::rename(&self.part, &self.target)
    }
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
