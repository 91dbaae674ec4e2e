//! Files in the cache folder: written whole or not at all, also where another process does the same, and read only where
//! they are files. Whatever else stands in their place (a pipe, a device, a folder, a loop of links) is an error at once:
//! nothing here waits for anybody.

use std::fs::{self, File, OpenOptions};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Read, Write};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// How the names of files end that are being written.
const PART: &str = "part";
/// Nobody writes a file for so long: who began to is gone. Process numbers would not say so, since containers that share a
/// folder have the same ones.
const STALE: Duration = Duration::from_secs(3600);
/// Names that are looked at for such files, at most.
const MOST_NAMES: usize = 10_000;

/// Writes `bytes` to `path`, whose folder is made on the way.
///
/// The bytes are on the disk before the file has its name: some file systems put names first, and a power failure would leave
/// a file of zeros. Our checksums would see that, but all that was found out would have to be found out again.
///
/// # Errors
/// What the system says; then the file is as it was.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
        sweep(folder, SystemTime::now());
    }
    let part = path.with_extension(format!("{}-{:016x}.{PART}", std::process::id(), random()));
    let mut file = OpenOptions::new().write(true).create_new(true).open(&part)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all()).and_then(|()| fs::rename(&part, path));
    if written.is_err() {
        fs::remove_file(&part).ok();
    }
    written
}

/// A number that no other process has drawn.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// Removes what processes that ended in the middle of [`write()`] have left in `folder`.
fn sweep(folder: &Path, now: SystemTime) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.take(MOST_NAMES).flatten() {
        let path = entry.path();
        let is_part = path.extension().is_some_and(|extension| extension == PART);
        // Of links it is the link that counts.
        if is_part
            && let Ok(metadata) = entry.metadata()
            && metadata.is_file()
            && let Ok(written) = metadata.modified()
            && now.duration_since(written).is_ok_and(|age| age > STALE)
        {
            fs::remove_file(path).ok();
        }
    }
}

/// What `path` holds; `None` where nothing has that name.
///
/// # Errors
/// What the system says, and where it is no file or has more than `most` bytes.
pub(crate) fn read(path: &Path, most: u64) -> io::Result<Option<Vec<u8>>> {
    let file = match open(path, OpenOptions::new().read(true)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut bytes = Vec::new();
    // Some files say that they are empty and are not.
    file.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(invalid(format!("more than {most} bytes, which is none of ours")));
    }
    Ok(Some(bytes))
}

/// Opens `path` as `how` says, where it is a file or where `how` makes it one. Never waits: neither for the other end of a
/// pipe nor for a device.
///
/// # Errors
/// What the system says, and where it is no file.
pub(crate) fn open(path: &Path, how: &OpenOptions) -> io::Result<File> {
    let is_other = || invalid("no file, expected one".to_owned());
    // Asked before it is opened, since to open a device may do something, and after, since it may be another by then.
    match fs::metadata(path) {
        Ok(metadata) if !metadata.is_file() => return Err(is_other()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = without_waiting(how).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(is_other()) }
}

#[cfg(unix)]
fn without_waiting(how: &OpenOptions) -> OpenOptions {
    use std::os::unix::fs::OpenOptionsExt;
    let mut how = how.clone();
    how.custom_flags(nix::fcntl::OFlag::O_NONBLOCK.bits());
    how
}

#[cfg(not(unix))]
fn without_waiting(how: &OpenOptions) -> OpenOptions {
    how.clone()
}

fn invalid(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

/// FNV-1a of 64 bits over the bytes and their number.
pub(crate) fn checksum(bytes: &[u8]) -> u64 {
    let length = (bytes.len() as u64).to_le_bytes();
    let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().chain(&length).fold(0xcbf2_9ce4_8422_2325, mix)
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_written_whole_and_read_back() {
        let dir = tempfile::tempdir().unwrap();
        // Made on the way, like ~/.cache.
        let path = dir.path().join("cache/lapidary/a.json");
        assert_eq!(read(&path, 10).unwrap(), None);
        write(&path, b"one").unwrap();
        write(&path, b"three").unwrap();
        assert_eq!(read(&path, 5).unwrap().unwrap(), b"three");
        assert!(read(&path, 4).unwrap_err().to_string().contains("more than 4 bytes"));
        assert_eq!(names(path.parent().unwrap()), ["a.json"]);
        // Two containers may give two processes the same number.
        assert_ne!(random(), random());
    }

    #[test]
    fn what_was_never_finished_goes_after_an_hour() {
        let dir = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let make = |name: &str, age| {
            let file = File::create(dir.path().join(name)).unwrap();
            file.set_modified(now - Duration::from_secs(age)).unwrap();
        };
        make("a.77.part", 3700);
        make("a.77-0123456789abcdef.part", 7200);
        make("b.78.part", 3500);
        make("c.json", 7200);
        fs::create_dir(dir.path().join("d.part")).unwrap();
        sweep(dir.path(), now);
        assert_eq!(names(dir.path()), ["b.78.part", "c.json", "d.part"]);
        sweep(dir.path(), now + 2 * STALE);
        assert_eq!(names(dir.path()), ["c.json", "d.part"]);
        // Whoever writes sweeps.
        make("e.79.part", 3700);
        write(&dir.path().join("f"), b"").unwrap();
        assert_eq!(names(dir.path()), ["c.json", "d.part", "f"]);
    }

    /// A pipe that nobody writes to would keep whoever opens it for ever.
    #[cfg(unix)]
    #[test]
    fn only_files_are_opened() {
        use std::os::unix::fs::symlink;
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        nix::unistd::mkfifo(&at("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        fs::create_dir(at("folder")).unwrap();
        symlink("loop", at("loop")).unwrap();
        symlink("/dev/zero", at("zero")).unwrap();
        symlink("fifo", at("to-fifo")).unwrap();
        for name in ["fifo", "folder", "loop", "zero", "to-fifo"] {
            for how in [OpenOptions::new().read(true), OpenOptions::new().append(true).create(true)] {
                open(&at(name), how).expect_err(name);
            }
            read(&at(name), 10).expect_err(name);
        }
        // All but a folder gives way to what is written.
        for name in ["fifo", "loop", "zero", "to-fifo"] {
            write(&at(name), name.as_bytes()).unwrap();
            assert_eq!(read(&at(name), 10).unwrap().unwrap(), name.as_bytes());
        }
        write(&at("folder"), b"").unwrap_err();
        assert_eq!(names(dir.path()), ["fifo", "folder", "loop", "to-fifo", "zero"]);
    }
}
