//! Where a checkpoint's files come from: a directory, or bytes in the program. Positioned reads, no memory map: a file
//! that another process truncates must end in an error, not in a signal.

use std::borrow::Cow;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::{Error, Result};

/// Largest file that is read whole: configurations, index and tokenizer.
const WHOLE_FILE_LIMIT: u64 = 64 << 20;

/// The files of one checkpoint.
#[derive(Debug, Clone)]
pub enum Source {
    /// A directory as published: `config.json`, `*.safetensors`.
    Directory(PathBuf),
    /// File names and their contents, for models that are part of the program.
    Embedded(&'static [(&'static str, &'static [u8])]),
}

impl Source {
    /// The source for messages: the path, or that it is embedded.
    pub fn describe(&self) -> String {
        match self {
            Source::Directory(path) => path.display().to_string(),
            Source::Embedded(_) => "embedded model".to_owned(),
        }
    }

    /// All of the small file `name`, or `None` where it is absent.
    ///
    /// # Errors
    /// [`Error::Model`] for a name that is not a plain file name, for anything but a regular file inside the directory
    /// and for more than 64 MiB; [`Error::Io`] for what the system refuses.
    pub fn read(&self, name: &str) -> Result<Option<Cow<'static, [u8]>>> {
        self.open(name)?.map(Blob::whole).transpose()
    }

    /// As [`Self::read`], of a file in `folder`, which is inside the directory.
    ///
    /// # Errors
    /// Those of [`Self::read`].
    pub fn read_in(&self, folder: &str, name: &str) -> Result<Option<Cow<'static, [u8]>>> {
        check_name(folder)?;
        check_name(name)?;
        self.open_path(&format!("{folder}/{name}"))?.map(Blob::whole).transpose()
    }

    /// Opens `name` for positioned reads, or `None` where it is absent.
    pub(super) fn open(&self, name: &str) -> Result<Option<Blob>> {
        check_name(name)?;
        self.open_path(name)
    }

    /// Opens a path whose components were checked.
    fn open_path(&self, name: &str) -> Result<Option<Blob>> {
        match self {
            Source::Directory(directory) => open_in(directory, name),
            Source::Embedded(files) => Ok(files.iter().find(|(file, _)| *file == name).map(|(_, bytes)| Blob {
                name: name.to_owned(),
                path: PathBuf::from(name),
                data: Data::Bytes(bytes),
            })),
        }
    }

    /// Checks that a directory is one, before the first file is asked for.
    ///
    /// # Errors
    /// [`Error::Model`] if it is not there or is no directory; [`Error::Io`] for what the system refuses.
    pub fn check(&self) -> Result<()> {
        let Source::Directory(path) = self else { return Ok(()) };
        match fs::metadata(path) {
            Ok(found) if found.is_dir() => Ok(()),
            Ok(_) => Err(Error::model(format!(
                "model {:?}: is a file, expected a directory with config.json and *.safetensors",
                path.display().to_string()
            ))),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Err(Error::model(format!(
                    "model {:?}: does not exist, expected a directory with config.json and *.safetensors",
                    path.display().to_string()
                )))
            }
            Err(error) => Err(Error::io(path, error)),
        }
    }

    /// Whether there is `config.json`, but nothing that could hold or list weights.
    pub fn is_config_only(&self) -> bool {
        const WEIGHTS: [&str; 7] = [".safetensors", ".index.json", ".gguf", ".bin", ".pt", ".pth", ".pkl"];
        let names = self.names();
        let is_weights = |name: &String| WEIGHTS.iter().any(|ending| name.ends_with(ending));
        names.iter().any(|name| name == "config.json") && !names.iter().any(is_weights)
    }

    /// Names of the files, sorted, for messages about what is missing.
    pub(super) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = match self {
            Source::Directory(path) => fs::read_dir(path)
                .map(|entries| entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect())
                .unwrap_or_default(),
            Source::Embedded(files) => files.iter().map(|(name, _)| (*name).to_owned()).collect(),
        };
        names.sort();
        names
    }
}

/// A name from a file never becomes a path: one component of plain characters.
fn check_name(name: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() || name.len() > 255 || name.starts_with('.') || !name.chars().all(plain) {
        return Err(Error::model(format!(
            "file name {name:?}: expected one component of letters, digits, '.', '_' and '-'"
        )));
    }
    Ok(())
}

fn open_in(directory: &Path, name: &str) -> Result<Option<Blob>> {
    let path = directory.join(name);
    // Also follows links; a dangling one is as absent as no file, but says so.
    let real = match fs::canonicalize(&path) {
        Ok(real) => real,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return match fs::symlink_metadata(&path) {
                Ok(_) => Err(Error::model(format!("file {name:?}: is a link to a file that does not exist"))),
                Err(_) => Ok(None),
            };
        }
        Err(error) => return Err(Error::io(path, error)),
    };
    if !allowed_roots(directory)?.iter().any(|root| real.starts_with(root)) {
        return Err(Error::model(format!(
            "file {name:?}: is a link to {:?}, expected a file inside the model directory",
            real.display().to_string()
        )));
    }
    // Asked before opening: to open a pipe would wait for its writer.
    let found = fs::metadata(&real).map_err(|error| Error::io(&path, error))?;
    if !found.is_file() {
        return Err(Error::model(format!("file {name:?}: is not a regular file")));
    }
    let file = File::open(&real).map_err(|error| Error::io(&path, error))?;
    let found = file.metadata().map_err(|error| Error::io(&path, error))?;
    let data = Data::File { file, len: found.len(), modified: found.modified().ok() };
    Ok(Some(Blob { name: name.to_owned(), path, data }))
}

/// The directory, and for a snapshot in the Hugging Face cache the `blobs` folder that its links lead to.
fn allowed_roots(directory: &Path) -> Result<Vec<PathBuf>> {
    let root = fs::canonicalize(directory).map_err(|error| Error::io(directory, error))?;
    let snapshots = root.parent().filter(|parent| parent.file_name().is_some_and(|name| name == "snapshots"));
    let blobs = snapshots.and_then(Path::parent).map(|repository| repository.join("blobs"));
    Ok(std::iter::once(root).chain(blobs).collect())
}

/// One opened file.
#[derive(Debug)]
pub(super) struct Blob {
    pub(super) name: String,
    path: PathBuf,
    data: Data,
}

#[derive(Debug)]
enum Data {
    File { file: File, len: u64, modified: Option<SystemTime> },
    Bytes(&'static [u8]),
}

impl Blob {
    /// Bytes of the file when it was opened.
    pub(super) fn len(&self) -> u64 {
        match &self.data {
            Data::File { len, .. } => *len,
            Data::Bytes(bytes) => bytes.len() as u64,
        }
    }

    /// All of a small file.
    fn whole(self) -> Result<Cow<'static, [u8]>> {
        if self.len() > WHOLE_FILE_LIMIT {
            return Err(Error::model(format!(
                "file {:?}: {} bytes, at most {WHOLE_FILE_LIMIT} are accepted",
                self.name,
                self.len()
            )));
        }
        match self.data {
            Data::Bytes(bytes) => Ok(Cow::Borrowed(bytes)),
            Data::File { .. } => {
                let mut bytes = vec![0; self.len() as usize];
                self.read_at(0, &mut bytes)?;
                Ok(Cow::Owned(bytes))
            }
        }
    }

    /// Fills `out` from byte `offset` on.
    pub(super) fn read_at(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        let read = match &self.data {
            Data::File { file, .. } => read_exact_at(file, offset, out),
            Data::Bytes(bytes) => usize::try_from(offset)
                .ok()
                .and_then(|start| bytes.get(start..)?.get(..out.len()))
                .map(|part| out.copy_from_slice(part))
                .ok_or_else(|| io::ErrorKind::UnexpectedEof.into()),
        };
        read.map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => Error::model(format!(
                "file {:?}: ends before byte {}, it had {} bytes when it was opened",
                self.name,
                offset + out.len() as u64,
                self.len()
            )),
            _ => Error::io(&self.path, error),
        })
    }

    /// Fails if the file was written to since it was opened.
    pub(super) fn check_unchanged(&self) -> Result<()> {
        let Data::File { file, len, modified } = &self.data else { return Ok(()) };
        let now = file.metadata().map_err(|error| Error::io(&self.path, error))?;
        if now.len() != *len || now.modified().ok() != *modified {
            return Err(Error::model(format!("file {:?}: changed while it was read", self.name)));
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
