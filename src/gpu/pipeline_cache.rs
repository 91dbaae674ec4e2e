//! Compiled pipelines in a file, from run to run, where the API has such a thing (Vulkan).
//!
//! The file is never needed: what cannot be read or written, or is not what was written, is as good as no file. A checksum
//! of our own stands before the driver's data, so that a damaged file does not reach the driver.

use std::io;
use std::path::{Path, PathBuf};

use super::blocking::block_on;
use crate::kept::{self, checksum};

/// The beginning of a file, with the format's version.
const MAGIC: &[u8; 8] = b"lapipes1";
/// Bytes before the driver's data: the magic number and the checksum.
const HEADER: usize = 16;
/// Larger files are neither read nor written.
const MAX_BYTES: u64 = 64 << 20;

/// A device's pipelines and the file that keeps them.
#[derive(Debug)]
pub(super) struct PipelineCache {
    pub(super) cache: wgpu::PipelineCache,
    path: PathBuf,
    /// Checksum of the data that the file had; `None` where there was none.
    found: Option<u64>,
}

impl PipelineCache {
    /// The cache in the file `path`, or an empty one that will be written there; `None` where the driver has none.
    pub(super) fn open(device: &wgpu::Device, path: PathBuf) -> Option<Self> {
        let data = read(&path).unwrap_or_else(|error| {
            log::info!("{}: {error}: pipelines are compiled anew", path.display());
            None
        });
        let found = data.as_deref().map(checksum);
        create(device, data.as_deref()).map(|cache| PipelineCache { cache, path, found })
    }

    /// Writes the file, if there is more to keep than it had.
    pub(super) fn save(&self) {
        let Some(data) = self.cache.get_data().filter(|data| data.len() as u64 <= MAX_BYTES) else { return };
        if self.found == Some(checksum(&data)) {
            return;
        }
        if let Err(error) = kept::write(&self.path, &encode(&data)) {
            log::info!("{}: {error}: pipelines are not kept", self.path.display());
        }
    }
}

#[expect(unsafe_code, reason = "the driver trusts the data")]
fn create(device: &wgpu::Device, data: Option<&[u8]>) -> Option<wgpu::PipelineCache> {
    let descriptor = wgpu::PipelineCacheDescriptor { label: Some("pipelines"), data, fallback: true };
    let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);
    // SAFETY: the data is what PipelineCache::get_data gave for an adapter and a driver of this name, by the file's
    // name and its checksum; wgpu and the driver compare their own headers too, and then start from nothing.
    let cache = unsafe { device.create_pipeline_cache(&descriptor) };
    match block_on(scope.pop()) {
        Ok(None) => Some(cache),
        Ok(Some(error)) => {
            log::info!("no pipeline cache: {error}");
            None
        }
        Err(error) => {
            log::info!("no pipeline cache: {error}");
            None
        }
    }
}

/// The data in the file, `None` where there is no file.
fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let Some(bytes) = kept::read(path, MAX_BYTES + HEADER as u64)? else { return Ok(None) };
    match decode(&bytes) {
        Some(data) => Ok(Some(data.to_vec())),
        None => Err(io::Error::new(io::ErrorKind::InvalidData, "not what was written")),
    }
}

/// The driver's data in a file's `bytes`, if they are whole.
pub(crate) fn decode(bytes: &[u8]) -> Option<&[u8]> {
    let (magic, rest) = bytes.split_first_chunk::<8>()?;
    let (sum, data) = rest.split_first_chunk::<8>()?;
    (magic == MAGIC && u64::from_le_bytes(*sum) == checksum(data)).then_some(data)
}

/// The file for a driver's `data`.
fn encode(data: &[u8]) -> Vec<u8> {
    [&MAGIC[..], &checksum(data).to_le_bytes(), data].concat()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::fs;

    use super::*;
    use crate::gpu::{Gpu, PipelineKey};
    use crate::not_run::not_run;

    const NONE: &str = "this API keeps no pipelines";

    fn has_cache() -> bool {
        Gpu::open(None).unwrap().device.features().contains(wgpu::Features::PIPELINE_CACHE)
    }

    /// Opens a device with the cache in `folder`, compiles a shader and keeps it: the bytes of the only file there.
    fn run(folder: &Path) -> Option<Vec<u8>> {
        compile(folder);
        if !has_cache() {
            return None;
        }
        let files = fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path()).collect::<Vec<_>>();
        assert!(files.len() < 2, "one file, and nothing half written: {files:?}");
        files.first().map(|path| fs::read(path).unwrap())
    }

    fn compile(folder: &Path) {
        let gpu = Gpu::open(None).unwrap();
        gpu.use_pipeline_cache(folder, "version");
        let wgsl = "@group(0) @binding(0) var<storage, read_write> y: array<u32>;
            @compute @workgroup_size(1) fn main() { y[0] = 1; }";
        let key = PipelineKey { stem: "one", variant: "", constants: vec![] };
        gpu.pipeline(&key, || wgsl.to_owned()).unwrap();
        gpu.save_pipeline_cache();
        gpu.check().unwrap();
    }

    fn only_file(folder: &Path) -> PathBuf {
        fs::read_dir(folder).unwrap().next().unwrap().unwrap().path()
    }

    #[test]
    fn whatever_the_file_holds_does_no_harm() {
        let dir = tempfile::tempdir().unwrap();
        // Made on the way, like ~/.cache.
        let folder = dir.path().join("cache/lapidary");
        let Some(first) = run(&folder) else { return not_run(NONE) };
        assert!(decode(&first).is_some());
        let path = only_file(&folder);
        let mut flipped = first.clone();
        *flipped.last_mut().unwrap() ^= 1;
        // A whole file of ours, but not what a driver gave.
        let foreign = [&MAGIC[..], &checksum(&[7; 4096]).to_le_bytes(), &[7; 4096]].concat();
        let broken = [b"garbage".to_vec(), vec![], first[..HEADER].to_vec(), first[..first.len() / 2].to_vec()];
        for bytes in broken.into_iter().chain([flipped, foreign]) {
            fs::write(&path, &bytes).unwrap();
            let after = run(&folder).unwrap();
            assert!(decode(&after).is_some() && after != bytes, "the file is made anew");
        }
    }

    #[test]
    fn a_folder_that_cannot_be_written_does_no_harm() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "not a folder").unwrap();
        assert_eq!(run(&file.join("lapidary")), None);
        assert_eq!(fs::read(&file).unwrap(), b"not a folder");
        // Nobody writes there, not even root.
        #[cfg(target_os = "linux")]
        assert_eq!(run(Path::new("/proc/self/lapidary")), None);
        let folder = dir.path().join("read-only");
        fs::create_dir(&folder).unwrap();
        let mut permissions = fs::metadata(&folder).unwrap().permissions();
        permissions.set_readonly(true);
        fs::set_permissions(&folder, permissions).unwrap();
        // Root writes all the same.
        let is_writable =
            fs::write(folder.join("probe"), "").and_then(|()| fs::remove_file(folder.join("probe"))).is_ok();
        assert_eq!(run(&folder).is_some(), is_writable && has_cache());
    }

    /// What stands in the file's place is neither read nor needed.
    #[test]
    fn a_folder_in_the_file_s_place_does_no_harm() {
        let dir = tempfile::tempdir().unwrap();
        if run(dir.path()).is_none() {
            return not_run(NONE);
        }
        let path = only_file(dir.path());
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        compile(dir.path());
        assert_eq!((only_file(dir.path()), fs::read_dir(&path).unwrap().count()), (path, 0));
    }

    #[test]
    fn only_whole_files_are_decoded() {
        let data: Vec<u8> = (0..100).collect();
        let bytes = [&MAGIC[..], &checksum(&data).to_le_bytes(), &data].concat();
        assert_eq!(decode(&bytes), Some(&data[..]));
        assert!((0..bytes.len()).all(|len| decode(&bytes[..len]).is_none()));
        for i in 0..bytes.len() {
            let mut wrong = bytes.clone();
            wrong[i] ^= 0x10;
            assert_eq!(decode(&wrong), None, "byte {i}");
        }
    }
}
