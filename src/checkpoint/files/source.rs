//! Where a checkpoint's files come from: a directory, or bytes in the program. Opening one is in [`super::blob`].

use std::borrow::Cow;
use std::fs;
use std::io;
use std::path::PathBuf;

use super::blob::{Blob, check_name, open_in};
use super::folder::{self, is_gguf};
use super::foreign;
use super::weight_map::INDEX;
use crate::error::{Fault, Remedy};
use crate::paths::{shown, windows_device};
use crate::{Error, Result};

/// Largest tokenizer.json that is read.
const TOKENIZER_LIMIT: u64 = 64 << 20;
/// Largest index that is read: 262,144 tensors with names of a hundred bytes.
const INDEX_LIMIT: u64 = 32 << 20;
/// Largest configuration or template that is read. Real ones have kilobytes.
const SMALL_LIMIT: u64 = 8 << 20;

/// What a model's folder is.
pub(super) const A_MODEL: &str = "a directory with config.json and *.safetensors";

/// The files of one checkpoint.
#[derive(Debug, Clone)]
pub enum Source {
    /// A directory as published: `config.json`, `*.safetensors`; or a repository in the Hugging Face cache, whose snapshot is
    /// meant. Files that are links out of it are refused.
    Directory(PathBuf),
    /// Like `Directory`, but files may be links to anywhere.
    Linked(PathBuf),
    /// File names and their contents, for models that are part of the program.
    Embedded(&'static [(&'static str, &'static [u8])]),
}

/// A file that was read whole.
pub(crate) struct Whole {
    pub(crate) bytes: Cow<'static, [u8]>,
    /// To ask later whether it has changed.
    pub(crate) blob: Blob,
}

impl Source {
    /// The source for messages: the path, or that it is embedded.
    pub fn describe(&self) -> String {
        match self {
            Source::Directory(path) | Source::Linked(path) => shown(path),
            Source::Embedded(_) => "embedded model".to_owned(),
        }
    }

    /// All of the small file `name`, or `None` where it is absent.
    ///
    /// # Errors
    /// [`Error::Model`] for a name that is not a plain file name, for anything but a regular file inside the directory,
    /// for more than 64 MiB of tokenizer.json, 32 MiB of an index and 8 MiB of any other file, for one that changes
    /// while it is read, and for one that is something else than its name says: a Git LFS pointer, a page of HTML, an archive;
    /// [`Error::Io`] for what the system refuses.
    pub fn read(&self, name: &str) -> Result<Option<Cow<'static, [u8]>>> {
        let Some(Whole { bytes, .. }) = self.read_whole(name)? else { return Ok(None) };
        foreign::check(name, &bytes)?;
        Ok(Some(bytes))
    }

    /// Like [`Self::read`], whatever it holds, and the file, to ask later whether it has changed.
    pub(crate) fn read_whole(&self, name: &str) -> Result<Option<Whole>> {
        self.open(name)?.map(Self::whole).transpose()
    }

    /// As [`Self::read`], of a file in `folder`, which is inside the directory.
    ///
    /// # Errors
    /// Those of [`Self::read`].
    pub fn read_in(&self, folder: &str, name: &str) -> Result<Option<Cow<'static, [u8]>>> {
        check_name(folder)?;
        check_name(name)?;
        let Some(blob) = self.open_path(&format!("{folder}/{name}"))? else { return Ok(None) };
        let Whole { bytes, .. } = Self::whole(blob)?;
        foreign::check(name, &bytes)?;
        Ok(Some(bytes))
    }

    /// All of a small file, whatever it holds.
    fn whole(blob: Blob) -> Result<Whole> {
        let name = blob.name.as_str();
        let limit = match name {
            "tokenizer.json" => TOKENIZER_LIMIT,
            INDEX => INDEX_LIMIT,
            _ => SMALL_LIMIT,
        };
        if blob.len() > limit {
            return Err(Fault::file(name).found(format!("{} bytes", blob.len())).accepted(limit).into());
        }
        if let Some(bytes) = blob.embedded() {
            return Ok(Whole { bytes: Cow::Borrowed(bytes), blob });
        }
        let mut bytes = vec![0; blob.len() as usize];
        blob.read_at(0, &mut bytes)?;
        blob.check_unchanged()?;
        Ok(Whole { bytes: Cow::Owned(bytes), blob })
    }

    /// Opens `name` for positioned reads, or `None` where it is absent.
    pub(crate) fn open(&self, name: &str) -> Result<Option<Blob>> {
        check_name(name)?;
        self.open_path(name)
    }

    /// Opens a path whose components were checked.
    fn open_path(&self, name: &str) -> Result<Option<Blob>> {
        match self {
            Source::Directory(path) => open_in(&folder::find(path)?, name, false),
            Source::Linked(path) => open_in(&folder::find(path)?, name, true),
            Source::Embedded(files) => {
                let found = files.iter().find(|(file, _)| *file == name);
                Ok(found.map(|(_, bytes)| Blob::new_embedded(name, bytes)))
            }
        }
    }

    /// Checks that a directory is one, before the first file is asked for.
    ///
    /// # Errors
    /// [`Error::Model`] if it is not there, is no directory, or is a cached repository of which no one snapshot is meant;
    /// [`Error::Io`] for what the system refuses.
    pub fn check(&self) -> Result<()> {
        let (Source::Directory(path) | Source::Linked(path)) = self else { return Ok(()) };
        let fault = |fault: Fault| {
            let fault = fault.expected(A_MODEL);
            match is_gguf(path) {
                true => Err(fault.note("GGUF is not supported yet").remedy(Remedy::TakeSafetensors).into()),
                false => Err(fault.into()),
            }
        };
        let model = Fault::source(&shown(path));
        if cfg!(windows) && windows_device(path).is_some() {
            return fault(model.found("is a device of Windows"));
        }
        match fs::metadata(path) {
            Ok(found) if found.is_dir() => folder::find(path).map(drop),
            Ok(_) => fault(model.found("is a file")),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                fault(model.missing("does not exist"))
            }
            Err(error) => Err(Error::io(path, error)),
        }
    }

    /// This source with the folder that is really meant: of a cached repository, the snapshot of this moment.
    pub(crate) fn located(self) -> Result<Source> {
        Ok(match self {
            Source::Directory(path) => Source::Directory(folder::find(&path)?.into_owned()),
            Source::Linked(path) => Source::Linked(folder::find(&path)?.into_owned()),
            embedded @ Source::Embedded(_) => embedded,
        })
    }

    /// Whether there is `config.json`, but nothing that could hold or list weights.
    pub fn is_config_only(&self) -> bool {
        const WEIGHTS: [&str; 6] = [".index.json", ".gguf", ".bin", ".pt", ".pth", ".pkl"];
        let names = self.names();
        // What a download has begun is called `model.safetensors.incomplete` or the like.
        let is_weights =
            |name: &String| name.contains(".safetensors") || WEIGHTS.iter().any(|ending| name.ends_with(ending));
        names.iter().any(|name| name == "config.json") && !names.iter().any(is_weights)
    }

    /// Names of the files, sorted, for messages about what is missing.
    pub(crate) fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = match self {
            Source::Directory(path) | Source::Linked(path) => folder::find(path)
                .and_then(|folder| fs::read_dir(&folder).map_err(|error| Error::io(&*folder, error)))
                .map(|entries| entries.flatten().map(|e| e.file_name().to_string_lossy().into_owned()).collect())
                .unwrap_or_default(),
            Source::Embedded(files) => files.iter().map(|(name, _)| (*name).to_owned()).collect(),
        };
        names.sort();
        names
    }
}
