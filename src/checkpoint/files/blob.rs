//! One file of a checkpoint, opened so that nothing outside the model's folder is, and read at positions. There is no memory
//! map: a file that another process truncates must end in an error, not in a signal.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::error::{Fault, Remedy, quoted};
use crate::paths::{check_no_device, shown};
use crate::{Error, Result, threads};

/// How long a change may stay unseen behind the one before: file systems keep time in ticks of up to 10 ms.
const TICK: Duration = Duration::from_millis(12);

/// A name from a file never becomes a path: one component of plain characters.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let fault = Fault::file_name(name);
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() || name.len() > 255 || name.starts_with('.') || !name.chars().all(plain) {
        return Err(fault.expected("one component of letters, digits, '.', '_' and '-'").into());
    }
    // Windows drops dots at the end, so that two names would be one file.
    if cfg!(windows) && name.ends_with('.') {
        return Err(fault.found("ends with a dot, which Windows leaves out").into());
    }
    check_no_device(Path::new(name)).map_err(|error| fault.found(error.to_string()).into())
}

/// Opens `name` in `directory`, or `None` where it is absent; where it is a link, to a file outside only if `follow` says so.
pub(crate) fn open_in(directory: &Path, name: &str, follow: bool) -> Result<Option<Blob>> {
    let path = directory.join(name);
    // Also follows links; a dangling one is as absent as no file, but says so.
    let real = match fs::canonicalize(&path) {
        Ok(real) => real,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return match fs::symlink_metadata(&path) {
                Ok(_) => Err(Fault::file(name).missing("is a link to a file that does not exist").into()),
                Err(_) => Ok(None),
            };
        }
        Err(error) => return Err(Error::io(path, error)),
    };
    if !follow && !is_allowed(directory, &real)? {
        let fault = Fault::file(name).found(format!("is a link to {}", quoted(&shown(&real))));
        let fault = fault.expected("a file inside the model directory").remedy(Remedy::FollowLinks);
        return Err(fault.into());
    }
    // Asked before opening: even to open a device can do something.
    let asked = fs::metadata(&real).map_err(|error| Error::io(&path, error))?;
    let irregular = || Error::from(Fault::file(name).found("is not a regular file"));
    if !asked.is_file() {
        return Err(irregular());
    }
    let file = open_file(&real).map_err(|error| Error::io(&path, error))?;
    let mut found = file.metadata().map_err(|error| Error::io(&path, error))?;
    if !found.is_file() {
        return Err(irregular());
    }
    // Whoever put another file or link in the way between these steps is found out: what was opened is what was asked for.
    let still = fs::canonicalize(&path).is_ok_and(|now| now == real)
        && fs::symlink_metadata(&real).is_ok_and(|now| Place::of(&now) == Place::of(&found));
    if Place::of(&asked) != Place::of(&found) || !still {
        return Err(Fault::file(name).found("was replaced while it was opened").into());
    }
    if let Some(rest) = changed_just_now(&found) {
        threads::sleep(rest);
        found = file.metadata().map_err(|error| Error::io(&path, error))?;
    }
    let data = Data::File { file, state: State::of(&found) };
    Ok(Some(Blob { name: name.to_owned(), path, data }))
}

/// Neither waits for the writer of a pipe nor goes through a link that has taken the file's place.
#[cfg(unix)]
fn open_file(path: &Path) -> io::Result<File> {
    use nix::fcntl::OFlag;
    use std::os::unix::fs::OpenOptionsExt;
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOFOLLOW | OFlag::O_NOCTTY;
    OpenOptions::new().read(true).custom_flags(flags.bits()).open(path)
}

/// Nobody writes to a file while it is read: who has it open for writing, such as a download, is found out by the system's
/// error, and who would open it so later gets one. It may be renamed and removed, as elsewhere.
#[cfg(windows)]
fn open_file(path: &Path) -> io::Result<File> {
    use std::os::windows::fs::OpenOptionsExt;
    const SHARE_READ: u32 = 1;
    const SHARE_DELETE: u32 = 4;
    OpenOptions::new().read(true).share_mode(SHARE_READ | SHARE_DELETE).open(path)
}

#[cfg(not(any(unix, windows)))]
fn open_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).open(path)
}

/// Whether `real` is in the directory, or, for a snapshot in the Hugging Face cache, in the `blobs` folder that its links
/// lead to. That may itself be a link, to another disk; then only what lies directly in it counts.
fn is_allowed(directory: &Path, real: &Path) -> Result<bool> {
    let root = fs::canonicalize(directory).map_err(|error| Error::io(directory, error))?;
    if real.starts_with(&root) {
        return Ok(true);
    }
    let snapshots = root.parent().filter(|parent| parent.file_name().is_some_and(|name| name == "snapshots"));
    let Some(blobs) = snapshots.and_then(Path::parent).map(|repository| repository.join("blobs")) else {
        return Ok(false);
    };
    Ok(real.starts_with(&blobs) || fs::canonicalize(&blobs).is_ok_and(|blobs| real.parent() == Some(&blobs)))
}

/// One opened file.
#[derive(Debug)]
pub(crate) struct Blob {
    pub(crate) name: String,
    path: PathBuf,
    data: Data,
}

#[derive(Debug)]
enum Data {
    File { file: File, state: State },
    Bytes(&'static [u8]),
}

/// Which file it is, on which disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place([u64; 2]);

impl Place {
    #[cfg(unix)]
    fn of(metadata: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;
        Place([metadata.dev(), metadata.ino()])
    }

    /// Not known: what changes is told by times alone.
    #[cfg(not(unix))]
    fn of(_: &Metadata) -> Self {
        Place([0; 2])
    }
}

/// All that tells one state of a file from another without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    place: Place,
    len: u64,
    modified: Option<SystemTime>,
    /// When anything about it was changed, which nobody can set back; elsewhere when it was made.
    changed: ChangeTime,
    created: Option<SystemTime>,
}

impl State {
    fn of(metadata: &Metadata) -> Self {
        let created = if cfg!(unix) { None } else { metadata.created().ok() };
        let changed = change_time(metadata);
        State { place: Place::of(metadata), len: metadata.len(), modified: metadata.modified().ok(), changed, created }
    }
}

/// When a file was changed, counted from 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct ChangeTime {
    seconds: i64,
    nanoseconds: i64,
}

#[cfg(unix)]
fn change_time(metadata: &Metadata) -> ChangeTime {
    use std::os::unix::fs::MetadataExt;
    ChangeTime { seconds: metadata.ctime(), nanoseconds: metadata.ctime_nsec() }
}

#[cfg(not(unix))]
fn change_time(_: &Metadata) -> ChangeTime {
    ChangeTime { seconds: 0, nanoseconds: 0 }
}

/// How long to wait until a further change of a file shows in its times, if it was changed just now.
fn changed_just_now(metadata: &Metadata) -> Option<Duration> {
    let ChangeTime { seconds, nanoseconds } = change_time(metadata);
    let at = SystemTime::UNIX_EPOCH + Duration::new(u64::try_from(seconds).ok()?, u32::try_from(nanoseconds).ok()?);
    TICK.checked_sub(at.elapsed().ok()?)
}

impl Blob {
    /// A file in the program.
    pub(crate) fn new_embedded(name: &str, bytes: &'static [u8]) -> Self {
        Blob { name: name.to_owned(), path: PathBuf::from(name), data: Data::Bytes(bytes) }
    }

    /// The bytes of a file in the program.
    pub(crate) fn embedded(&self) -> Option<&'static [u8]> {
        match self.data {
            Data::Bytes(bytes) => Some(bytes),
            Data::File { .. } => None,
        }
    }

    /// Bytes of the file when it was opened.
    pub(crate) fn len(&self) -> u64 {
        match &self.data {
            Data::File { state, .. } => state.len,
            Data::Bytes(bytes) => bytes.len() as u64,
        }
    }

    /// Fills `out` from byte `offset` on.
    pub(crate) fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        let read = match &self.data {
            Data::File { file, .. } => read_exact_at(file, offset, out),
            Data::Bytes(bytes) => usize::try_from(offset)
                .ok()
                .and_then(|start| bytes.get(start..)?.get(..out.len()))
                .map(|part| out.copy_from_slice(part))
                .ok_or_else(|| io::ErrorKind::UnexpectedEof.into()),
        };
        let Err(error) = read else { return Ok(()) };
        if error.kind() != io::ErrorKind::UnexpectedEof {
            return Err(Error::io(&self.path, error));
        }
        self.check_unchanged()?;
        let (name, end, len) = (&self.name, offset + out.len() as u64, self.len());
        let fault = Fault::file(name).found(format!("ends before byte {end}"));
        Err(fault.expected_in(", it had ", format!("{len} bytes"), " when it was opened").into())
    }

    /// The first bytes, at most `most`.
    pub(crate) fn head(&self, most: usize) -> Result<Vec<u8>> {
        let mut head = vec![0; self.len().min(most as u64) as usize];
        self.read_at(0, &mut head)?;
        Ok(head)
    }

    fn metadata(&self, file: &File) -> Result<Metadata> {
        file.metadata().map_err(|error| Error::io(&self.path, error))
    }

    /// Fails if the file was written to since it was opened, or if its name stands for another one by now: the files of a set
    /// belong together.
    pub(crate) fn check_unchanged(&self) -> Result<()> {
        let Data::File { file, state } = &self.data else { return Ok(()) };
        let fault = |what: &str| Err(Fault::file(&self.name).found(format!("was {what} while it was read")).into());
        let named = match fs::metadata(&self.path) {
            Ok(named) => named,
            // What is opened stays, and to be removed counts as a change: of the times, only that of writing tells then.
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                let now = State::of(&self.metadata(file)?);
                let is_same = State { changed: state.changed, ..now } == *state;
                return if is_same { Ok(()) } else { fault("changed and removed") };
            }
            Err(error) => return Err(Error::io(&self.path, error)),
        };
        let now = self.metadata(file)?;
        if Place::of(&named) != state.place || !named.is_file() {
            return fault("replaced");
        }
        if now.len() != state.len {
            return fault(&format!("changed, from {} to {} bytes,", state.len, now.len()));
        }
        if State::of(&now) != *state || State::of(&named) != *state {
            return fault("changed");
        }
        Ok(())
    }
}

#[cfg(unix)]
fn read_exact_at(file: &File, offset: u64, out: &mut [u8]) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, out, offset)
}

#[cfg(windows)]
fn read_exact_at(file: &File, mut offset: u64, mut out: &mut [u8]) -> io::Result<()> {
    while !out.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, out, offset) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => {
                out = &mut out[count..];
                offset += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(not(any(unix, windows)))]
fn read_exact_at(_: &File, _: u64, _: &mut [u8]) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
